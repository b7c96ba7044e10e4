"""What an operator and the guest itself do to a protected guest with Xen's own tools, each followed by a failover."""

from cases.failover import lose_primary
from runner import case

GUESTS = ("pv1", "pvh1")
SAVED = "/var/tmp/beside.img"


def protected(kit, name, *options):
    guest = kit.guest(name)
    kit.standby(kit.beta, "--activation", "cold")
    kit.protect(name, kit.alpha, kit.beta, *options)
    kit.wait_protected(name, kit.alpha)
    return guest


def no_ghost(host):
    """No domain without a name: that is one which cannot die because somebody has its memory mapped."""
    listed = host.run("xl list").stdout
    assert "(null)" not in listed, listed


def committed(kit, name):
    epoch = kit.status(name, kit.alpha, "primary").get("epoch") or {}
    return epoch.get("committed") or 0


def goes_on(kit, name, epochs=3):
    """Until so many more epochs are committed and the guest is protected."""
    goal = committed(kit, name) + epochs
    kit.lab.wait_for(lambda: committed(kit, name) >= goal, 120, "%s has %d more epochs" % (name, epochs))
    kit.wait_protected(name, kit.alpha)


def balloon_and_save_and_pause(kit, name):
    guest = protected(kit, name)
    full = guest.plan.memory_mib
    for size in (full - 16, full):
        kit.alpha.run("xl mem-set %s %d" % (name, size), timeout=60)
        kit.lab.wait_for(
            lambda: abs(guest.state(kit.alpha)["memory"] - size) <= 1, 90, "%s has %d MiB" % (name, size)
        )
        goes_on(kit, name)
        guest.memory()
    kit.alpha.run("xl save -c %s %s" % (name, SAVED), timeout=120)
    shown = kit.alpha.run("remusd inspect --summary %s; rm %s" % (SAVED, SAVED)).stdout
    assert "well-formed and whole" in shown, shown
    # Another tool suspended it and emptied Xen's one log of what was written: only a full sync makes it good.
    goes_on(kit, name)
    guest.memory()
    kit.alpha.run("xl pause %s" % name)
    kit.lab.wait_for(lambda: "p" in guest.state(kit.alpha)["state"], 10, "%s is paused" % name)
    kit.alpha.run("sleep 3; remusd status %s" % name)
    assert kit.status(name, kit.alpha, "primary"), "its pause ended the protection"
    assert "p" in guest.state(kit.alpha)["state"], "remusd let a paused guest run"
    kit.alpha.run("xl unpause %s" % name)
    goes_on(kit, name)
    lose_primary(kit, [guest], kit.alpha, kit.beta)


def reboot(kit, name):
    guest = protected(kit, name)
    before = guest.state(kit.alpha)["domid"]
    guest.tell("(sleep 1; reboot -f) </dev/null >/dev/null 2>&1 &")

    def anew():
        state = guest.state(kit.alpha)
        return state and state["domid"] != before

    kit.lab.wait_for(anew, 120, "%s has another domid after its reboot" % name)
    guest.wait(300)  # It boots while it is being synced, both on one slow processor.
    no_ghost(kit.alpha)
    kit.wait_protected(name, kit.alpha, 200)
    lose_primary(kit, [guest], kit.alpha, kit.beta)


def leaves_nothing(kit, guest):
    """The guest ends: so does its protection, and neither a domain nor a plug is left."""
    kit.lab.wait_for(lambda: guest.state(kit.alpha) is None, 90, "%s is gone" % guest.name)
    no_ghost(kit.alpha)
    kit.lab.wait_for(
        lambda: kit.alpha.run("pgrep -f '^remusd protect'", check=False).returncode != 0, 60, "protect has ended"
    )
    left = kit.alpha.run("xl list; ip -br link show type ifb").stdout
    assert guest.name not in left and "rmd" not in left, left


def poweroff(kit, name):
    """A planned end: nothing is left to activate."""
    guest = protected(kit, name)
    guest.tell("(sleep 1; poweroff -f) </dev/null >/dev/null 2>&1 &")
    leaves_nothing(kit, guest)
    code = kit.beta.run("remusd activate %s --confirm-fenced alpha" % name, check=False).returncode
    assert code in (12, 14), "activate says %d" % code
    assert name not in kit.beta.run("xl list").stdout


def destroy(kit, name):
    """To remusd, and to the guest, that is a crash: the image is kept, and a person may have it."""
    guest = protected(kit, name)
    written = guest.memory()
    guest.destroy(kit.alpha)
    leaves_nothing(kit, guest)
    kit.activate(name, kit.beta)
    assert guest.memory() >= written, "%s went back" % name
    no_ghost(kit.beta)


for _name in GUESTS:
    for _what, _action in (
        ("balloon-save-pause", balloon_and_save_and_pause),
        ("reboot", reboot),
        ("poweroff", poweroff),
        ("destroy", destroy),
    ):
        case("protected-%s-%s" % (_what, _name), ci=False, seconds=600)(
            lambda kit, name=_name, action=_action: action(kit, name)
        )
