"""With an arbiter that decides, a standby takes over by itself, and of two hosts that cannot hear each other one goes on."""

import datetime
import re
import select
import socket
import time

import plan
from failure import LabError
from kit import LOGS
from runner import case

# Silence is noticed after a tenth of it (docs/operations.md), and the arbiter is asked at once.
ALONE_AFTER = ["--alone-after", "30s"]
# From detection to the guest's answer, in seconds: what is wanted of a power loss with automatic activation.
BAR = 2.0


def protected(kit, name, *standby_options):
    """A guest on alpha, protected at beta, which takes over by itself; etcd reaches both over the guests' link."""
    etcd = kit.arbiter()
    guest = kit.guest(name)
    kit.standby(kit.beta, "--arbiter", etcd.name, "--activate", "auto", *standby_options)
    kit.protect(name, kit.alpha, kit.beta, "--arbiter", etcd.name, *ALONE_AFTER)
    kit.wait_protected(name, kit.alpha)
    watcher, client = kit.watch(guest), kit.redis(guest)
    client.wait_told(5, seconds=120)
    watcher.wait_seen(5)
    return etcd, guest, watcher, client


def state(kit, name, host, role):
    return kit.status(name, host, role)["state"]


def wait(kit, name, host, role, wanted, seconds=120):
    what = "%s is %s on %s" % (name, wanted, host.name)
    kit.lab.wait_for(lambda: state(kit, name, host, role) == wanted, seconds, what)


def goes_on(kit, guest, watcher, client):
    """The guest is seen, in one history, its connection goes on, and its memory is whole."""
    watcher.wait_seen(8)
    client.wait_told(8, seconds=180)
    client.stop()
    kit.say("seen in one history: %s" % watcher.stop())
    guest.memory()


def first_answer(kit, guest, seconds):
    """When the guest answered a new connection, one tried four times a second; to be begun when it answers nothing."""
    until, streams = time.monotonic() + seconds, []
    try:
        while time.monotonic() < until:
            with kit.lab.links.client():
                stream = socket.socket()
            stream.setblocking(False)
            stream.connect_ex((guest.plan.address, plan.SEQUENCE_PORT))
            streams.append(stream)
            for each in select.select([], streams, [], 0.25)[1]:
                if each.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    return time.time()
                streams.remove(each)
                each.close()
    finally:
        for stream in streams:
            stream.close()
    raise LabError("%s answers nobody within %d s" % (guest.name, seconds))


def clock_ahead(host):
    """By how many seconds a host's clock is ahead of this machine's, as well as the quickest of some answers can tell."""
    best = None
    for _ in range(5):
        begin = time.time()
        there = float(host.run("date +%s.%N").stdout)
        end = time.time()
        if best is None or end - begin < best[0]:
            best = (end - begin, there - (begin + end) / 2)
    return best[1]


def logged(host, text):
    """When a line of the standby's log with this text was written first, by that host's clock."""
    for line in host.run("cat %s/standby.log" % LOGS).stdout.splitlines():
        if text in line:
            moment = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+)Z ", line)
            if moment:
                aware = datetime.datetime.fromisoformat(moment.group(1)[:26] + "+00:00")
                return aware.timestamp()
    raise LabError("the standby on %s never said '%s'" % (host.name, text))


def power_loss(kit, name, *options):
    """The primary's host is lost: nobody says a word, and the guest is back."""
    etcd, guest, watcher, client = protected(kit, name, *options)
    kit.alpha.power_off()
    lost = time.time()
    answered = first_answer(kit, guest, 180)
    ahead = clock_ahead(kit.beta)
    detected = logged(kit.beta, "gone without a word") - ahead
    assert state(kit, name, kit.beta, "standby") == "active"
    text = "%s: detected %.1f s after the loss of power, answering %.1f s after that (wanted: %.1f s): %s" % (
        name, detected - lost, answered - detected, BAR, "in time" if answered - detected <= BAR else "TOO LATE",
    )
    kit.say(text)
    print("        %s" % text, flush=True)
    goes_on(kit, guest, watcher, client)


for _name, _activation in (("pv1", "warm"), ("pvh1", "warm"), ("pv1", "cold")):
    case("arbiter-power-loss-%s-%s" % (_name, _activation), ci=False, seconds=600)(
        lambda kit, name=_name, activation=_activation: power_loss(kit, name, "--activation", activation)
    )


def one_goes_on(kit, name):
    """The host whose copy may speak, once it is settled; never both."""

    def settled():
        primary, standby = state(kit, name, kit.alpha, "primary"), state(kit, name, kit.beta, "standby")
        kit.say("alpha: %s, beta: %s" % (primary, standby))
        assert (primary, standby) != ("alone", "active"), "both go on"
        return (primary == "alone" and "alpha") or (standby == "active" and "beta")

    return kit.lab.wait_for(settled, 180, "one of the two goes on")


def settled(kit, guest, watcher, client, winner):
    """The link is whole again: the other side gives way, and the guest goes on where it is."""
    kit.say("%s goes on" % winner)
    watcher.wait_seen(8)
    kit.lab.links.heal()
    if winner == "beta":
        wait(kit, guest.name, kit.alpha, "primary", "outdated")
    else:
        kit.wait_protected(guest.name, kit.alpha, seconds=240)
    goes_on(kit, guest, watcher, client)


@case("arbiter-cut", ci=False, seconds=600)
def of_two_that_cannot_hear_each_other_one_goes_on(kit):
    etcd, guest, watcher, client = protected(kit, "pv1")
    kit.lab.links.cut()
    settled(kit, guest, watcher, client, one_goes_on(kit, "pv1"))


@case("arbiter-down", ci=False, seconds=900)
def without_its_arbiter_nobody_acts(kit):
    """Losing it while the pair is connected changes nothing; losing the link as well, both hold, and say why."""
    etcd, guest, watcher, client = protected(kit, "pv1")
    etcd.pause()
    client.wait_told(5, seconds=120)
    watcher.wait_seen(5)
    kit.lab.links.cut()
    kit.wait_peer_lost("pv1", kit.beta)
    kit.lab.wait_for(
        lambda: "the arbiter" in kit.alpha.run("remusd status pv1", check=False).stdout, 120, "the primary says what it lacks"
    )
    told = client.told
    time.sleep(45)  # Longer than alone-after: time permits nothing.
    assert state(kit, "pv1", kit.alpha, "primary") == "peer-lost"
    assert state(kit, "pv1", kit.beta, "standby") not in ("active", "activating")
    refused = kit.beta.run("remusd activate pv1", check=False, timeout=120)
    # 75: the arbiter does not answer, or the standby is asking it by itself at this moment.
    assert refused.returncode == 75, "%d: %s" % (refused.returncode, refused.stdout)
    assert client.told <= told + 1, "a client was told something while nobody may act"
    etcd.resume()
    settled(kit, guest, watcher, client, one_goes_on(kit, "pv1"))


@case("arbiter-hung-primary", ci=False, seconds=600)
def a_primary_that_wakes_up_finds_itself_outdated(kit):
    etcd, guest, watcher, client = protected(kit, "pv1")
    kit.alpha.hang()
    wait(kit, "pv1", kit.beta, "standby", "active")
    watcher.wait_seen(8)
    kit.alpha.unhang()
    wait(kit, "pv1", kit.alpha, "primary", "outdated")
    goes_on(kit, guest, watcher, client)
