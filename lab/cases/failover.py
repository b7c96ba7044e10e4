"""A protected guest survives the loss of its host: its connections, its memory, and all that its clients were told; and
whoever watches the wire sees one history."""

import random
import time

from runner import case

# What is protected, how it is activated, and by which engine.
MATRIX = [
    (guest, activation, engine)
    for guest in ("pv1", "pv2", "pvh1", "pvh2")
    for activation in ("warm", "cold")
    for engine in ("native", "libxenguest")
]
# With there-and-back-pvh1, these have each kind, number of vcpus, activation and engine at least once.
CI = [("pv2", "warm", "native"), ("pv1", "cold", "libxenguest")]


def bridged(host, domid):
    """The card of a guest that was activated is in the bridge, and it was remusd that put it there."""
    ports = host.run("ls /sys/class/net/xenbr0/brif").stdout.split()
    assert "vif%d.0" % domid in ports, "the bridge of %s has %s" % (host.name, ports)
    card = "/local/domain/0/backend/vif/%d/0" % domid
    script, status = host.run("xenstore-read %s/script %s/hotplug-status" % (card, card)).stdout.split()
    assert script.endswith("/vif-remusd") and status == "connected", "%s: %s is %s" % (card, script, status)


def lose_primary(kit, guests, primary, standby):
    """Power loss of the primary under load, activation of all its guests on the standby; every connection goes on."""
    watchers = [kit.watch(guest) for guest in guests]
    clients = [kit.sequence(guest) for guest in guests] + [kit.redis(guest) for guest in guests if guest.plan.redis]

    def go_on():
        for client in clients:
            # A confirmation takes an epoch, and an epoch may take seconds here.
            client.wait_told(8, seconds=120)
        for watcher in watchers:
            watcher.wait_seen(8)

    go_on()
    time.sleep(random.uniform(0, 2))
    primary.power_off()
    for guest in guests:
        kit.wait_peer_lost(guest.name, standby)
        seconds = kit.activate(guest.name, standby, "--confirm-fenced", primary.name)
        kit.say("%s was activated in %.1f s" % (guest.name, seconds))
    go_on()
    kit.say("the longest silence was %.1f s" % max(client.longest_silence for client in clients))
    for client in clients:
        client.stop()
    for watcher in watchers:
        kit.say("seen in one history: %s" % watcher.stop())
    for guest in guests:
        guest.memory()
        state = guest.state(standby)
        assert state and "p" not in state["state"], "xl list on %s has %s" % (standby.name, state)
        bridged(standby, state["domid"])
    listed = standby.run("xl list").stdout
    assert "incoming" not in listed and "null" not in listed, listed


def exported(kit, name, standby):
    """Xen's own tool takes an export of the image, as it is at this moment."""
    standby.run("remusd export %s /var/tmp/image" % name, timeout=120)
    # Debian keeps Xen's Python modules beside its programs.
    line = "PYTHONPATH=/usr/lib/xen-4.17/lib/python verify-stream-v2 --format xl --in /var/tmp/image && rm /var/tmp/image"
    shown = standby.run(line, timeout=300).stdout
    kit.say("verify-stream-v2: %s" % (shown.strip()[-200:] or "no complaint"))


def failover(name, activation, engine, *options):
    def action(kit):
        guest = kit.guest(name)
        kit.standby(kit.beta, "--activation", activation)
        kit.protect(name, kit.alpha, kit.beta, "--engine", engine, *options)
        kit.wait_protected(name, kit.alpha)
        if activation == "cold":
            exported(kit, name, kit.beta)
        lose_primary(kit, [guest], kit.alpha, kit.beta)

    return action


for each in MATRIX:
    case("failover-%s-%s-%s" % each, ci=each in CI, seconds=400)(failover(*each))
# Warm, pages of zeros and LZ4; cold, differences too (docs/protocol.md, "Page encodings").
for each in [("pvh2", "warm"), ("pv1", "cold")]:
    case("failover-%s-%s-delta" % each, ci=False, seconds=400)(failover(*each, "native", "--encoding", "delta"))
# Before each pause, what is dirty already; and intervals by what is dirty.
case("failover-pvh1-warm-sweep", ci=False, seconds=400)(failover("pvh1", "warm", "native", "--sweep", "--interval", "adaptive:400ms"))


def there_and_back(names, ways):
    """Fails over between the hosts, once for each of `ways` (activation, engine), and each time everything is protected
    again where it runs. All the guests of the host are lost with it."""

    def action(kit):
        guests = [kit.guest(name) for name in names]
        primary, standby = kit.alpha, kit.beta
        for number, (activation, engine) in enumerate(ways):
            kit.standby(standby, "--activation", activation)
            for name in names:
                kit.protect(name, primary, standby, "--engine", engine)
            for name in names:
                kit.wait_protected(name, primary)
            lose_primary(kit, guests, primary, standby)
            kit.say("failover %d of %d: %s has it now" % (number + 1, len(ways), standby.name))
            kit.lab.power_on(primary)
            primary, standby = standby, primary

    return action


case("there-and-back-pvh1", seconds=600)(there_and_back(["pvh1"], [("cold", "native"), ("warm", "libxenguest")]))
WAYS = [("warm", "native"), ("cold", "native")]
# Each loss is one for both guests.
case("there-and-back-fifty", ci=False, seconds=80 * 60)(there_and_back(["small", "pv1"], (WAYS * 13)[:25]))
