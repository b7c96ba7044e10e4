"""Every kind of guest runs, answers from outside, and survives `xl save` and `xl restore`; remusd reads what xl wrote."""

import plan
from runner import case


def answers(kit, name):
    guest = kit.guest(name)
    assert int(guest.shell("nproc")) == guest.plan.vcpus, "%s has other processors than it should" % name
    sequence = kit.sequence(guest)
    if guest.plan.redis:
        redis = kit.redis(guest)
        redis.wait_told(20)
        redis.stop()
    sequence.wait_told(20)
    sequence.stop()
    before = guest.memory()
    kit.lab.wait_for(lambda: guest.memory() > before, 30, "%s goes on writing its memory" % name)


def saves_and_restores(kit, name):
    guest = kit.guest(name)
    written = guest.memory()
    kit.alpha.run("xl save %s /var/tmp/lab.img" % name, timeout=120)
    assert guest.state(kit.alpha) is None, "%s runs on after xl save" % name
    shown = kit.alpha.run("remusd inspect --summary /var/tmp/lab.img").stdout
    assert "well-formed and whole" in shown, shown
    kit.alpha.run("xl restore /var/tmp/lab.img && rm /var/tmp/lab.img", timeout=120)
    guest.wait()
    assert guest.memory() >= written, "%s went back" % name


def ends(kit, name):
    guest = kit.guest(name)
    guest.destroy(kit.alpha)
    kit.lab.wait_for(lambda: guest.state(kit.alpha) is None, 30, "%s is gone" % name)
    left = kit.alpha.run("xl list").stdout
    assert "(null)" not in left, left


for _name in plan.GUESTS:
    case("guest-" + _name)(lambda kit, name=_name: answers(kit, name))
    case("save-" + _name, ci=_name in ("pv1", "pvh2"))(lambda kit, name=_name: saves_and_restores(kit, name))
    case("destroy-" + _name, ci=_name in ("pv2", "pvh1"))(lambda kit, name=_name: ends(kit, name))


@case("poweroff-inside", ci=False)
def a_guest_ends_itself(kit):
    guest = kit.guest("pv1")
    guest.shell("(sleep 1; poweroff -f) </dev/null >/dev/null 2>&1 &")
    kit.lab.wait_for(lambda: guest.state(kit.alpha) is None, 60, "pv1 is gone after its poweroff")


@case("reboot-inside", ci=False)
def a_guest_starts_anew(kit):
    guest = kit.guest("pvh1")
    before = guest.state(kit.alpha)["domid"]
    guest.shell("(sleep 1; reboot -f) </dev/null >/dev/null 2>&1 &")

    def anew():
        state = guest.state(kit.alpha)
        return state and state["domid"] != before

    kit.lab.wait_for(anew, 90, "pvh1 has another domid after its reboot")
    guest.wait()
    guest.destroy(kit.alpha)
