"""The same watcher beside xl remus, on the same hosts: what somebody outside sees of a guest that Xen's own tool protects, where its
host loses power, and where xl remus is told to end. As far as it runs on Debian, whose xl holds no output (-n)."""

import time

import xlremus
from runner import case

SILENCE = 60


def under_xl_remus(kit, name):
    """A guest of alpha under xl remus, watched; xl's pid there. beta's xl has had a checkpoint by then."""
    guest = kit.guest(name)
    pid = xlremus.start(kit, name, interval_ms=500)
    kit.lab.wait_for(lambda: "%s--incoming" % name in kit.beta.run("xl list").stdout, 240, "%s--incoming on beta" % name)
    # Nothing says when the first checkpoint is whole. By then all of the memory has passed, at some 5 MB/s.
    time.sleep(max(90, guest.plan.memory_mib / 2))
    watcher = kit.watch(guest)
    watcher.wait_seen(8)
    return guest, watcher, pid


def copies(kit, name):
    """How many hosts have a copy that runs."""
    listed = [host.run("xl list %s 2>/dev/null | tail -n 1" % name, check=False).stdout for host in (kit.alpha, kit.beta)]
    return sum(1 for line in listed if line.startswith(name) and "s" not in line.split()[4] and "p" not in line.split()[4])


@case("beside-xl-stopped", ci=False, seconds=600)
def xl_remus_is_told_to_end(kit):
    guest, watcher, pid = under_xl_remus(kit, "pv1")
    kit.alpha.run("kill -TERM %d" % pid)
    until = time.monotonic() + SILENCE
    while time.monotonic() < until and not watcher.history.broken:
        time.sleep(0.5)
    run, broken = copies(kit, "pv1"), watcher.history.broken
    state = guest.state(kit.alpha)
    kit.say("xl remus ended: %d copies run, alpha's is %s; the watcher: %s" % (run, state["state"] if state else "gone", broken or "one history"))
    # Whatever xl does (told to end within a pause, it leaves the guest suspended for good): the watcher tells of two.
    assert bool(broken) == (run > 1), "%d copies, and: %s" % (run, broken)


@case("beside-xl-power-loss", ci=False, seconds=600)
def the_host_of_xl_remus_loses_power(kit):
    guest, watcher, _ = under_xl_remus(kit, "pv1")
    kit.alpha.power_off()
    before = sum(watcher.seen.values())
    time.sleep(SILENCE)
    seen = sum(watcher.seen.values()) - before
    listed = kit.beta.run("xl list").stdout
    kit.say("%d s after the loss of power: %d packets of the guest seen; beta has %s" % (SILENCE, seen, listed))
    assert "pv1--incoming" in listed and not guest.state(kit.beta), "xl took over by itself: %s" % listed
