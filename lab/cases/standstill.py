"""A guest with a writable disk that nobody replicates (docs/xen-host.md): what holds its output does not fence its disk. So it is
paused while the other host may have been given it, and nobody activates it without a person's word."""

import contextlib
import time

from cases.arbitration import state, wait
from cases.partition import goes_on, refuses
from guests import FOLDER, Running
from runner import case

NAME = "pv1"
DISK = "xvda"
# Longer than `--alone-after`: time permits nothing.
ALONE_AFTER, HELD_SECONDS = ["--alone-after", "30s"], 35
# An image without such a disk is asked for in the second in which its primary's silence is noticed (arbiter-power-loss-*).
AUTOMATIC_SECONDS = 15


@contextlib.contextmanager
def a_disk(kit):
    """Within it the guest is made with one writable disk, and each host's template of it has one: a small disk of its own."""
    guest = Running(kit.lab, NAME)
    kit.disturbed = True  # No other case is to find the guest with a disk.
    try:
        for host in kit.lab.hosts.values():
            if guest.state(host):
                guest.destroy(host)
            made = host.run("modprobe loop && truncate -s 4M /run/disk && losetup --find --show /run/disk").stdout
            host.run("echo \"disk = ['%s,raw,%s,rw']\" >>%s/%s.cfg" % (made.split()[-1], DISK, FOLDER, NAME))
        yield
    finally:
        for host in kit.lab.hosts.values():
            if host.state() == "on":  # One that was off gets its templates when it is on again.
                host.run("cp /mnt/share/guests/%s.cfg %s/; losetup -D" % (NAME, FOLDER), check=False)


def protected(kit, *options):
    """The guest on alpha, protected at beta, which would take over by itself, but for the disk."""
    etcd = kit.arbiter()
    guest = kit.guest(NAME)
    shown = kit.alpha.run("xenstore-read /local/domain/0/backend/vbd/%d/51712/mode" % guest.state(kit.alpha)["domid"])
    assert shown.stdout.strip() == "w", "the guest's disk is %s" % shown.stdout
    kit.standby(kit.beta, "--activation", "cold", "--arbiter", etcd.name, "--activate", "auto")
    refused = kit.protect_ends(NAME, kit.alpha, kit.beta, "--arbiter", etcd.name)
    assert refused.returncode != 0 and "nobody replicates its disk %s" % DISK in refused.stdout, refused.stdout
    pid = kit.protect(NAME, kit.alpha, kit.beta, "--arbiter", etcd.name, "--unreplicated-disks", DISK, *options)
    kit.wait_protected(NAME, kit.alpha, seconds=240)
    said(kit, "NOT PROTECTED: disk %s, which nobody replicates" % DISK)
    assert not paused(kit, guest), "it is paused, and its standby is there"
    return etcd, guest, pid


def said(kit, words):
    shown = kit.alpha.run(["remusd", "status", NAME]).stdout
    assert words in shown, shown


def paused(kit, guest):
    """As xl has it."""
    return "p" in guest.state(kit.alpha)["state"]


def noted(kit, guest):
    """Whether remusd has noted that the pause is its own: what whoever comes after it goes by."""
    path = "/local/domain/%d/remusd-pause" % guest.state(kit.alpha)["domid"]
    return kit.alpha.run(["xenstore-read", path], check=False).stdout.strip() == "1"


def runs_again(kit, guest):
    kit.lab.wait_for(lambda: not paused(kit, guest) and not noted(kit, guest), 60, "%s runs again, and that is noted" % NAME)


@case("standstill-pv1", ci=False, seconds=900)
def the_guest_stands_still_while_its_arbiter_is_asked(kit):
    with a_disk(kit):
        etcd, guest, _ = protected(kit, *ALONE_AFTER)
        watcher, client = kit.watch(guest), kit.redis(guest)
        goes_on(guest, watcher, client)
        # Its arbiter lost while the pair is connected: nothing. Then the link as well: it is asked, and does not answer.
        etcd.pause()
        client.wait_told(3, seconds=120)
        assert not paused(kit, guest), "losing its arbiter alone has paused it"
        kit.lab.links.cut()
        kit.lab.wait_for(lambda: paused(kit, guest), 60, "%s is paused" % NAME)
        assert noted(kit, guest), "its pause is noted nowhere"
        kit.wait_peer_lost(NAME, kit.beta)
        said(kit, "the guest is PAUSED: nobody replicates its disk %s" % DISK)
        told, until = client.told, time.monotonic() + HELD_SECONDS
        while time.monotonic() < until:
            assert paused(kit, guest), "it runs, and the standby may have been given it"
            assert state(kit, NAME, kit.alpha, "primary") == "peer-lost"
            assert state(kit, NAME, kit.beta, "standby") == "peer-lost"
            time.sleep(3)
        refuses(kit.beta, NAME, 13)
        assert client.told <= told + 1, "a client was told something by a guest that stands still"
        etcd.resume()
        wait(kit, NAME, kit.alpha, "primary", "alone")
        runs_again(kit, guest)
        goes_on(guest, watcher, client)
        kit.lab.links.heal()
        kit.wait_protected(NAME, kit.alpha, seconds=240)
        goes_on(guest, watcher, client)
        # The arbiter would grant it to beta now. It is not asked by beta itself, and its grant alone is not enough.
        kit.alpha.power_off()
        kit.wait_peer_lost(NAME, kit.beta)
        time.sleep(AUTOMATIC_SECONDS)
        assert state(kit, NAME, kit.beta, "standby") == "peer-lost"
        assert guest.state(kit.beta) is None, "it was activated, and nobody vouched for alpha"
        refuses(kit.beta, NAME, 13)
        kit.activate(NAME, kit.beta, "--confirm-fenced", "alpha")
        goes_on(guest, watcher, client)
        client.stop()
        kit.say("seen in one history: %s" % watcher.stop())


@case("standstill-killed-pv1", ci=False, seconds=900)
def a_killed_protect_leaves_the_guest_paused(kit):
    """By its guardian, and then by the protect that comes after it, until the arbiter says that it may run."""
    with a_disk(kit):
        # Its output is held until all of it has been sent once more.
        etcd, guest, pid = protected(kit, "--alone-after", "300s", "--max-hold", "60s")
        watcher, written = kit.watch(guest), guest.memory()
        watcher.wait_seen(5)
        etcd.pause()
        kit.alpha.run("kill -9 %d" % pid)
        kit.lab.wait_for(lambda: paused(kit, guest), 60, "%s is paused" % NAME)
        assert noted(kit, guest), "its pause is noted nowhere"
        back = "the guest is PAUSED: nobody replicates its disk %s" % DISK
        kit.lab.wait_for(
            lambda: back in kit.alpha.run(["remusd", "status", NAME], check=False).stdout, 120, "protect is back, and says so"
        )
        for _ in range(5):
            assert paused(kit, guest), "it runs, and the standby may have been given it"
            time.sleep(2)
        assert state(kit, NAME, kit.beta, "standby") == "peer-lost"
        etcd.resume()
        runs_again(kit, guest)
        kit.wait_protected(NAME, kit.alpha, seconds=300)
        watcher.wait_seen(8)
        kit.say("seen in one history: %s" % watcher.stop())
        assert guest.memory() >= written, "%s went back" % NAME
