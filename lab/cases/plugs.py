"""A plug that is full: the guest goes all the same, and what a guest can send through one."""

import json
import time

import plan
from cases.tools import no_ghost, protected
from kit import PATIENCE, STANDBY_PORT
from runner import case

# How a held packet is kept (REMUSD_PLUG, docs/net-buffer.md).
MANNERS = ("zero-copy", "copy")
SECONDS = 30


class Bulk:
    """Shells in the guest: one whose connection it fills as fast as it can, and two that take one order each."""

    def __init__(self, kit, guest):
        connect = lambda: kit.lab.links.connect(guest.plan.address, plan.SHELL_PORT, 30)  # noqa: E731
        # What arrives on a connection that stands is done, also when every answer is held. But nothing more is sent on it then: the
        # first order is never acknowledged (RFC 5681, section 3.1: one segment after the timeout).
        self.shells = [connect(), connect()]
        self.unused = list(self.shells)
        self.stream = connect()
        self.stream.sendall(b"exec dd if=/dev/zero bs=65536 2>/dev/null\n")

    def tell(self, line):
        self.unused.pop(0).sendall(line.encode() + b"\n")

    def read(self, seconds):
        """Takes what comes; bytes a second."""
        begin, count = time.monotonic(), 0
        while time.monotonic() < begin + seconds:
            part = self.stream.recv(1 << 20)
            assert part, "the guest has ended the connection"
            count += len(part)
        return count / (time.monotonic() - begin)

    def close(self):
        for each in self.shells + [self.stream]:
            each.close()


def held(kit):
    """Packets that the kernel of alpha holds."""
    shown = kit.alpha.run("remusd plug list --output json").stdout
    return sum(each["held_packets"] for each in json.loads(shown))


def fill(kit, guest):
    """Nothing is acknowledged any more, and the guest sends until its transmit slots, or its window, are used up."""
    bulk = Bulk(kit, guest)
    bulk.read(10)
    kit.lab.links.cut()
    # More than one window: what needs no answer.
    pings = "ping -c 1000 -s 1400 -W 1 %s >/dev/null 2>&1 &" % plan.BRIDGE_ADDRESS[plan.CLIENT]
    bulk.tell("\n".join([pings] * 8))
    counts = []

    def settled():
        counts.append(held(kit))
        return len(counts) > 3 and counts[-1] >= 20 and counts[-1] <= counts[-3] * 1.1

    kit.lab.wait_for(settled, 60, "the plug is full")
    kit.say("the plug holds %d packets" % counts[-1])
    return bulk


def another_guest(kit, before):
    """dom0 makes another guest, at most five seconds slower than when nothing was held."""
    took = creation(kit)
    kit.say("another guest took %.1f s; %.1f s when nothing was held" % (took, before))
    assert took < before + 5, "dom0 took %.1f s to make another guest" % took


def creation(kit):
    other = kit.lab.alpha
    begin = time.monotonic()
    other.run(["xl", "create", "-q", "/etc/xen/small.cfg"], timeout=150)
    took = time.monotonic() - begin
    other.run("xl destroy small", timeout=60)
    return took


def destroyed(kit, name, action, owner="lives"):
    before = creation(kit)
    guest = protected(kit, name, "--alone-after", "300s", "--max-hold", "60s")
    bulk = fill(kit, guest)
    if owner == "dead":
        # The keeper is left.
        kill_protect(kit, "[p]rimary-guardian")
    elif owner == "hangs":
        kit.alpha.run("pkill -STOP -f 'remusd [p]rotect'")
    if action == "destroy":
        # libxl takes the devices first: it returns when their interfaces are gone, or after ten seconds each.
        begin = time.monotonic()
        kit.alpha.run(["xl", "destroy", name], check=False)
        took = time.monotonic() - begin
        kit.say("xl destroy took %.1f s" % took)
    else:
        domain = guest.state(kit.alpha)["domid"]
        bulk.tell("poweroff -f")
        kit.lab.wait_for(lambda: ended(kit, domain), 60, "%s has powered off" % name)
        kit.alpha.run(["xl", "destroy", str(domain)], check=False)
    another_guest(kit, before)
    if owner == "hangs":
        # What it has mapped of the guest is its own until it goes on.
        kit.alpha.run("pkill -CONT -f 'remusd [p]rotect'", check=False)
        kit.lab.wait_for(lambda: "(null)" not in kit.alpha.run("xl list").stdout, 30, "protect has let go")
    kit.lab.wait_for(lambda: guest.state(kit.alpha) is None, 30, "%s is gone" % name)
    no_ghost(kit.alpha)
    hung = kit.alpha.run("dmesg | grep -i 'blocked for more' | tail -n 3; true").stdout
    assert "xenwatch" not in hung, hung
    left = lambda: kit.alpha.run("ip -br link show type ifb | grep '^rmd'; true").stdout.strip()  # noqa: E731
    kit.lab.wait_for(lambda: not left(), 30, "no device of remusd's is left")
    bulk.close()


def kill_protect(kit, *others):
    """SIGKILL, with these, so that neither starts another one."""
    kit.alpha.run(
        "pkill -STOP -f 'remusd [p]rotect'; pkill -9 -f 'remusd (%s)'; pkill -9 -f 'remusd [p]rotect'" % "|".join(others),
        check=False,
    )


def ended(kit, domain):
    listed = kit.alpha.run("xl list %d 2>/dev/null | tail -n 1" % domain, check=False).stdout.split()
    return len(listed) < 5 or "s" in listed[4]


for _name in ("pv1", "pvh1"):
    for _action in ("destroy", "poweroff"):
        case("plug-%s-%s" % (_action, _name), ci=_name == "pvh1" and _action == "destroy", seconds=400)(
            lambda kit, name=_name, action=_action: destroyed(kit, name, action)
        )
for _owner in ("dead", "hangs"):
    case("plug-destroy-%s" % _owner, ci=False, seconds=400)(
        lambda kit, owner=_owner: destroyed(kit, "pvh1", "destroy", owner)
    )


@case("plug-card-comes", ci=False, seconds=400)
def a_card_that_comes_is_held(kit):
    """A network card attached while the guest is protected has a plug of its own at once, and none is left when it goes."""
    guest = protected(kit, "pvh1")
    domain = guest.state(kit.alpha)["domid"]
    kit.alpha.run("xl network-attach %d mac=00:16:3e:00:00:99 bridge=xenbr0" % domain, timeout=60)

    def closed():
        shown = json.loads(kit.alpha.run("remusd plug list --output json").stdout)
        return any(each["interface"] == "vif%d.1" % domain and each["state"] == "closed" for each in shown)

    kit.lab.wait_for(closed, 30, "the second card is held")
    kit.say(kit.alpha.run("grep appeared /var/log/remusd/protect-pvh1.log").stdout)
    kit.alpha.run("xl network-detach %d 1" % domain, timeout=60)
    kit.lab.wait_for(
        lambda: "vif%d.1" % domain not in kit.alpha.run("remusd plug").stdout, 30, "the second card's plug is gone"
    )
    kit.wait_protected("pvh1", kit.alpha)


@case("plug-bulk", ci=False, seconds=900)
def bulk_through_a_plug(kit):
    """Measures: bulk TCP out of the guest at 100 ms epochs, unprotected, and with held packets kept as they are and as copies."""
    guest = kit.guest("pvh1")
    bulk = Bulk(kit, guest)
    bulk.read(5)
    kit.say("unprotected: %.2f MB/s" % (bulk.read(SECONDS) / 1e6))
    bulk.close()
    kit.disturbed = True
    to = "%s:%d" % (plan.REPLICATION_ADDRESS["beta"], STANDBY_PORT)
    kit.standby(kit.beta, "--activation", "cold")
    for manner in MANNERS * 2:
        command = ["env", "REMUSD_PLUG=" + manner, "remusd", "protect", "pvh1", "--to", to, "--insecure-plaintext"]
        kit.start(kit.alpha, "protect-pvh1", command + PATIENCE + ["--interval", "100ms"])
        kit.wait_protected("pvh1", kit.alpha)
        bulk = Bulk(kit, guest)
        bulk.read(10)
        most, speeds = 0, []
        for _ in range(6):
            speeds.append(bulk.read(SECONDS / 6))
            most = max(most, held(kit))
        status = kit.status("pvh1", kit.alpha, "primary")
        bulk.close()
        kit.say(
            "%s: %.2f MB/s (%s); at most %d packets were held, %s dropped; pause p50 %s us, output p50 %s us"
            % (
                manner,
                sum(speeds) / len(speeds) / 1e6,
                " ".join("%.2f" % (speed / 1e6) for speed in speeds),
                most,
                status.get("dropped_packets"),
                (status.get("pause") or {}).get("p50_us"),
                (status.get("output_latency_us") or {}).get("p50"),
            )
        )
        kit.alpha.run("remusd unprotect pvh1", timeout=120)
        kit.lab.wait_for(
            lambda: kit.alpha.run("pgrep -f '^remusd protect'", check=False).returncode != 0, 60, "protect has ended"
        )


@case("doctor", ci=False, seconds=300)
def the_doctor_finds_what_is_left(kit):
    """A plug whose guest is gone, and a guest that is suspended with nobody to resume it."""
    guest = protected(kit, "pvh1")
    kit.alpha.run("remusd doctor")
    kill_protect(kit, "[p]rimary-guardian", "[x]en-keeper")
    shown = kit.alpha.run("remusd doctor", check=False)
    assert shown.returncode == 1 and "is closed and nobody protects the guest" in shown.stdout, shown.stdout
    guest.destroy(kit.alpha)
    kit.lab.wait_for(lambda: guest.state(kit.alpha) is None, 60, "pvh1 is gone")
    shown = kit.alpha.run("remusd doctor", check=False).stdout
    assert "which is gone" in shown and "--fix removes it" in shown, shown
    kit.alpha.run("remusd doctor --fix", check=False)
    left = kit.alpha.run("ip -br link show type ifb").stdout
    assert "rmd" not in left, left
