"""Debian's xl remus, which others stand beside: from alpha to beta, as far as it runs there. Its xl holds no output (-n)."""

import plan

PORT = 9000


def start(kit, name, interval_ms):
    """Starts it for a guest of alpha, and what receives on beta; xl's pid on alpha. Nothing says when a checkpoint is whole."""
    kit.disturbed = True
    kit.start(kit.beta, "xl-receive", "socat TCP-LISTEN:%d,reuseaddr 'EXEC:xl migrate-receive -r -e'" % PORT)
    line = "xl remus -Fnd -i %d -s '' %s 'socat - TCP:%s:%d'" % (interval_ms, name, plan.REPLICATION_ADDRESS["beta"], PORT)
    return kit.start(kit.alpha, "xl-remus", line)


def start_to_nowhere(kit, name, interval_ms):
    """The same with nobody at the other end."""
    kit.disturbed = True
    return kit.start(kit.alpha, "xl-remus", "xl remus -Fbnd -i %d %s localhost" % (interval_ms, name))
