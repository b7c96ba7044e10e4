"""`scripts/xenlab demo`: the primary's host loses power, and a client's connection goes on. Everything in it is real but
the hardware: two Xen hosts, a guest with a redis-server, a client on the guest's network that never reconnects."""

import time

import packages
import plan
from failure import LabError, UsageError
from kit import Kit
from laboratory import Lab

DEFAULT_GUEST = "pvh1"


def main(words):
    name = DEFAULT_GUEST
    if words[:1] == ["--guest"] and len(words) == 2:
        name = words[1]
    elif words:
        raise UsageError("demo takes --guest NAME, not %s" % " ".join(words))
    if name not in plan.GUESTS or not plan.GUESTS[name].redis:
        raise UsageError("demo takes one of the guests that run redis: not %s" % name)
    import verbs

    packages.need_packages()
    with Lab().running(verbs.program()) as lab:
        show(Kit(lab, lambda text: None), name)
    return 0


def show(kit, name):
    """One failover from alpha to beta, and its report."""
    which = plan.GUESTS[name]
    say("%s (%s, %d vcpus, %d MiB) starts on alpha" % (name, which.kind, which.vcpus, which.memory_mib))
    guest = kit.guest(name)
    kit.standby(kit.beta)
    kit.protect(name, kit.alpha, kit.beta)
    kit.wait_protected(name, kit.alpha)
    say("protected: alpha to beta")
    redis, sequence = kit.redis(guest), kit.sequence(guest)
    redis.wait_told(20, seconds=180)  # Each takes three epochs, and an epoch takes a second here.
    status = kit.status(name, kit.alpha, "primary")
    written, told = guest.memory(), redis.told
    kit.alpha.power_off()
    lost = time.monotonic()
    say("alpha has lost power, after the client was told of %d writes" % told)
    kit.wait_peer_lost(name, kit.beta)
    kit.activate(name, kit.beta, "--confirm-fenced", "alpha")
    active = time.monotonic()
    redis.wait_told(10, seconds=180)
    counted, numbers = redis.stop(), sequence.stop()
    after = guest.memory()
    if after < written:
        raise LabError("%s: its memory went back from %d to %d pages written" % (name, written, after))
    print("remusd in the lab: %s, its host's power lost" % name)
    print("  epochs                %s" % (status.get("epoch") or {}).get("committed"))
    print("  power loss to active  %.1f s" % (active - lost))
    print("  longest silence       %.1f s, on a connection that went on" % redis.longest_silence)
    print("  writes acknowledged   %d on 1 connection, %d before the loss" % (counted, told))
    print("  numbers in sequence   %d" % numbers)
    print("  memory checked        %d pages written, none wrong" % after)
    print("lost 0")


def say(text):
    print("demo: " + text, flush=True)
