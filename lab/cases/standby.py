"""The standby is killed again and again, with two guests kept warm: nothing starts, nothing is lost."""

import random
import time

from cases.failover import lose_primary
from cases.tools import no_ghost
from runner import case

GUESTS = ("pv1", "pvh1")
ROUNDS = 20
# A domain that is made and taken away on the standby's host meanwhile, by xl alone.
BESIDE = "small"


def nothing_runs(kit, names):
    """On the standby's host there is no domain under a protected guest's name, and none that is being built runs."""
    for line in kit.beta.run("xl list").stdout.splitlines()[2:]:
        words = line.split()
        assert words[0] not in names, line
        assert not words[0].startswith(names) or "r" not in words[4], line


@case("standby-killed", ci=False, seconds=3600)
def the_standby_is_killed_with_two_warm_guests(kit):
    dice = random.Random(3)
    guests = [kit.guest(name) for name in GUESTS]
    pid = kit.standby(kit.beta, "--activation", "warm")
    for name in GUESTS:
        kit.protect(name, kit.alpha, kit.beta, "--alone-after", "600s", "--max-hold", "60s")
    for name in GUESTS:
        kit.wait_protected(name, kit.alpha, 300)
    sequences = [kit.sequence(guest) for guest in guests]
    for number in range(ROUNDS):
        time.sleep(dice.uniform(0, 15))
        kit.beta.run("kill -9 %d; xl list" % pid)
        nothing_runs(kit, GUESTS)
        if number % 4 == 0:
            kit.beta.run(["xl", "create", "-q", "/etc/xen/%s.cfg" % BESIDE], timeout=120)
        elif number % 4 == 2:
            kit.beta.run(["xl", "destroy", BESIDE], timeout=60)
        pid = kit.standby(kit.beta, "--activation", "warm")
        nothing_runs(kit, GUESTS)
        for sequence in sequences:
            sequence.check()
        kit.say("killed %d times" % (number + 1))
    for guest in guests:
        kit.wait_protected(guest.name, kit.alpha, 400)
        guest.memory()
    for sequence in sequences:
        sequence.wait_told(5, seconds=120)
    lose_primary(kit, guests, kit.alpha, kit.beta)
    for sequence in sequences:
        sequence.wait_told(5, seconds=120)
        sequence.stop()
    no_ghost(kit.beta)
