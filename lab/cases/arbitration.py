"""With an arbiter that decides, a standby takes over by itself, and of two hosts that cannot hear each other one goes on."""

import time

from runner import case

# Detection is a tenth of alone-after (docs/operations.md); the guest is activated when it is over.
ALONE_AFTER = ["--alone-after", "30s"]


def protected(kit, name, *standby_options):
    """A guest on alpha, protected at beta, which takes over by itself."""
    etcd = kit.arbiter()
    guest = kit.guest(name)
    kit.standby(kit.beta, "--arbiter", etcd.name, "--activate", "auto", *standby_options)
    kit.protect(name, kit.alpha, kit.beta, "--arbiter", etcd.name, *ALONE_AFTER)
    kit.wait_protected(name, kit.alpha)
    watcher, client = kit.watch(guest), kit.redis(guest)
    client.wait_told(5, seconds=120)
    watcher.wait_seen(5)
    return etcd, guest, watcher, client


def goes_on(kit, guest, watcher, client):
    watcher.wait_seen(8)
    client.wait_told(8, seconds=180)
    client.stop()
    kit.say("seen in one history: %s" % watcher.stop())
    guest.memory()


def power_loss(kit, name, *options):
    etcd, guest, watcher, client = protected(kit, name, *options)
    kit.alpha.power_off()
    lost = time.monotonic()
    kit.lab.wait_for(lambda: guest.state(kit.beta), 120, "%s runs on beta, unasked" % name)
    kit.say("runs %.1f s after the loss of power" % (time.monotonic() - lost))
    client.wait_told(1, seconds=120)
    kit.say("answers %.1f s after the loss of power" % (time.monotonic() - lost))
    goes_on(kit, guest, watcher, client)


for _name, _activation in (("pv1", "warm"), ("pvh1", "warm"), ("pv1", "cold")):
    case("arbiter-power-loss-%s-%s" % (_name, _activation), ci=False, seconds=600)(
        lambda kit, name=_name, activation=_activation: power_loss(kit, name, "--activation", activation)
    )


def one_goes_on(kit, name):
    """Which host's copy may speak, once it is settled; the other one knows that it is outdated, or has given its image up."""

    def settled():
        primary = kit.status(name, kit.alpha, "primary")["state"]
        standby = kit.status(name, kit.beta, "standby")["state"]
        kit.say("alpha: %s, beta: %s" % (primary, standby))
        assert (primary, standby) != ("alone", "active"), "both go on"
        return (primary == "alone" and "alpha") or (standby == "active" and "beta")

    return kit.lab.wait_for(settled, 180, "one of the two goes on")


@case("arbiter-cut", ci=False, seconds=600)
def of_two_that_cannot_hear_each_other_one_goes_on(kit):
    etcd, guest, watcher, client = protected(kit, "pv1")
    kit.lab.links.cut()
    winner = one_goes_on(kit, "pv1")
    kit.say("%s goes on" % winner)
    watcher.wait_seen(8)
    kit.lab.links.heal()
    if winner == "beta":
        kit.alpha.run("remusd wait pv1 --for outdated --timeout 120s", timeout=150)
    else:
        kit.wait_protected("pv1", kit.alpha, seconds=240)
    goes_on(kit, guest, watcher, client)


@case("arbiter-down", ci=False, seconds=900)
def without_its_arbiter_nobody_acts(kit):
    """Losing it while the pair is connected changes nothing; losing the link as well, both hold, and say why."""
    etcd, guest, watcher, client = protected(kit, "pv1")
    etcd.pause()
    client.wait_told(5, seconds=120)
    watcher.wait_seen(5)
    kit.lab.links.cut()
    kit.wait_peer_lost("pv1", kit.beta)
    time.sleep(45)
    told = client.told
    assert kit.status("pv1", kit.alpha, "primary")["state"] not in ("alone", "outdated")
    assert kit.status("pv1", kit.beta, "standby")["state"] not in ("active", "activating")
    refused = kit.beta.run("remusd activate pv1", check=False, timeout=120)
    assert refused.returncode in (11, 75), "%d: %s" % (refused.returncode, refused.stdout)
    assert client.told <= told + 1, "a client was told something while nobody may act"
    shown = kit.alpha.run("remusd status pv1").stdout
    assert "arbiter" in shown, shown
    etcd.resume()
    one_goes_on(kit, "pv1")
    kit.lab.links.heal()
    goes_on(kit, guest, watcher, client)


@case("arbiter-hung-primary", ci=False, seconds=600)
def a_primary_that_wakes_up_finds_itself_outdated(kit):
    etcd, guest, watcher, client = protected(kit, "pv1")
    kit.alpha.hang()
    kit.lab.wait_for(lambda: guest.state(kit.beta), 120, "pv1 runs on beta, unasked")
    watcher.wait_seen(8)
    kit.alpha.unhang()
    kit.alpha.run("remusd wait pv1 --for outdated --timeout 120s", timeout=150)
    goes_on(kit, guest, watcher, client)
