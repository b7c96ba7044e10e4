"""What a killed `remusd protect` leaves behind: nothing."""

import os

from runner import case

CHECK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guardian-check.py")


def a_killed_protect_leaves_no_guest_suspended(kit, name, rounds):
    """SIGKILLs, at least a third of them inside a pause; a second later the guest runs, and protection is back by itself."""
    guest = kit.guest(name)
    kit.standby(kit.beta, "--activation", "cold")
    kit.protect(
        guest.name, kit.alpha, kit.beta, "--interval", "100ms", "--max-hold", "60s", "--alone-after", "300s",
        "--suspend-timeout", "10s", "--max-pause", "10s",
    )
    kit.wait_protected(guest.name, kit.alpha, 300)
    with open(CHECK, "rb") as file:
        kit.alpha.run("cat > /tmp/guardian-check.py", input=file.read())
    line = "python3 /tmp/guardian-check.py %s %d 1" % (guest.name, rounds)
    kit.say(kit.alpha.run(line, timeout=3600).stdout)
    guest.memory()


case("protect-killed-5", seconds=600)(lambda kit: a_killed_protect_leaves_no_guest_suspended(kit, "pvh1", 5))
case("protect-killed-30", ci=False, seconds=4000)(lambda kit: a_killed_protect_leaves_no_guest_suspended(kit, "pv1", 30))
