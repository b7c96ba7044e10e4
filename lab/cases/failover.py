"""A protected guest survives the loss of its host: its connections, its memory, and all that its clients were told."""

from runner import case

# What is protected, how it is activated, and by which engine. None of them is in CI's set before it has been seen green
# there again and again.
MATRIX = [
    ("pvh1", "cold", "native"),
    ("pv2", "warm", "native"),
    ("pvh2", "warm", "libxenguest"),
    ("pv1", "cold", "libxenguest"),
]
MATRIX += [
    (guest, activation, engine)
    for guest in ("pv1", "pv2", "pvh1", "pvh2")
    for activation in ("warm", "cold")
    for engine in ("native", "libxenguest")
    if (guest, activation, engine) not in MATRIX
]


def lose_primary(kit, guest, primary, standby):
    """Power loss of the primary under load, activation on the standby; every connection goes on."""
    redis, sequence = kit.redis(guest), kit.sequence(guest)
    # A confirmation takes an epoch, and an epoch may take seconds here.
    redis.wait_told(8, seconds=120)
    sequence.wait_told(8, seconds=120)
    primary.power_off()
    kit.wait_peer_lost(guest.name, standby)
    seconds = kit.activate(guest.name, standby, "--confirm-fenced", primary.name)
    redis.wait_told(8, seconds=120)
    sequence.wait_told(8, seconds=120)
    kit.say("activated in %.1f s; the longest silence was %.1f s" % (seconds, redis.longest_silence))
    redis.stop()
    sequence.stop()
    guest.memory()
    state = guest.state(standby)
    assert state and "p" not in state["state"], "xl list on %s has %s" % (standby.name, state)
    listed = standby.run("xl list").stdout
    assert "incoming" not in listed and "null" not in listed, listed


def failover(name, activation, engine):
    def action(kit):
        guest = kit.guest(name)
        kit.standby(kit.beta, "--activation", activation)
        kit.protect(name, kit.alpha, kit.beta, "--engine", engine)
        kit.wait_protected(name, kit.alpha)
        lose_primary(kit, guest, kit.alpha, kit.beta)

    return action


for name, activation, engine in MATRIX:
    case("failover-%s-%s-%s" % (name, activation, engine), ci=False, seconds=400)(failover(name, activation, engine))


def there_and_back(name, rounds):
    """Fails over between the hosts, each time protected again where the guest runs."""

    def action(kit):
        guest = kit.guest(name)
        primary, standby = kit.alpha, kit.beta
        kit.standby(standby)
        for number in range(rounds):
            kit.protect(name, primary, standby)
            kit.wait_protected(name, primary)
            lose_primary(kit, guest, primary, standby)
            kit.say("failover %d of %d: %s has it now" % (number + 1, rounds, standby.name))
            kit.lab.power_on(primary)
            kit.standby(primary)
            primary, standby = standby, primary

    return action


case("there-and-back-pvh1", ci=False, seconds=600)(there_and_back("pvh1", 2))
case("there-and-back-twenty-pv1", ci=False, seconds=40 * 60)(there_and_back("pv1", 20))
