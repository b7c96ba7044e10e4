"""The kernel's plug: what a guest sends is held until its epoch is released."""

import os

from runner import case

CHECK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "plug-check.py")


@case("plug-epochs", ci=False, seconds=240)
def output_is_held_and_released_epoch_by_epoch(kit):
    """A thousand epochs, owners that are killed, all ethertypes, over the interfaces of two guests that are none."""
    with open(CHECK, "rb") as file:
        script = file.read()
    host = kit.alpha
    host.run("cat > /tmp/plug-check.py; ip netns del plug 2>/dev/null; ip netns add plug", input=script)
    line = "ip netns exec plug python3 /tmp/plug-check.py remusd plug drive"
    shown = host.run(line, timeout=230).stdout
    kit.say(shown)
    host.run("ip netns del plug")
    assert shown.rstrip().endswith("nothing is left"), shown
