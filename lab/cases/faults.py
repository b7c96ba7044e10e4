"""The lab's faults are what they are called."""

import time

import plan
from failure import LabError
from runner import case


def reaches(kit, sender, receiver):
    """Whether what `sender` sends on the replication link arrives: a datagram, not an answer to one."""
    address = plan.REPLICATION_ADDRESS[receiver.name]
    receiver.run("rm -f /tmp/got; (timeout 20 socat -u UDP-RECV:9009 CREATE:/tmp/got &) >/dev/null 2>&1 </dev/null; sleep 0.5")
    # The neighbour's address is known beforehand, or a request for it would have to pass in both directions.
    number = plan.HOST_NAMES.index(receiver.name) + 1
    sender.run("ip neigh replace %s lladdr 52:54:00:1a:%02x:01 dev replication" % (address, number))
    for _ in range(6):
        sender.run("echo arrived | socat -u STDIN UDP-SENDTO:%s:9009" % address)
        if receiver.run("cat /tmp/got", check=False).stdout.strip().startswith("arrived"):
            break
    else:
        receiver.run("pkill -x socat", check=False)
        return False
    receiver.run("pkill -x socat", check=False)
    return True


@case("cut")
def a_cut_link_carries_nothing(kit):
    assert reaches(kit, kit.alpha, kit.beta) and reaches(kit, kit.beta, kit.alpha)
    kit.lab.links.cut()
    assert not reaches(kit, kit.alpha, kit.beta) and not reaches(kit, kit.beta, kit.alpha)
    kit.lab.links.heal()
    assert reaches(kit, kit.alpha, kit.beta)


@case("cut-one-way")
def a_one_way_cut_loses_what_one_host_sends(kit):
    kit.lab.links.cut(one_way="alpha")
    assert not reaches(kit, kit.alpha, kit.beta), "what alpha sent arrived"
    assert reaches(kit, kit.beta, kit.alpha), "what beta sent did not arrive"


@case("slow")
def a_slow_link_is_slow(kit):
    # Twice 100 kB of data that nothing can compress; at 0.4 Mbit/s 100 kB take two seconds at least.
    def transfer():
        kit.beta.run("(timeout 60 socat -u TCP-LISTEN:9010,reuseaddr OPEN:/dev/null &) >/dev/null 2>&1 </dev/null; sleep 1")
        begin = time.monotonic()
        kit.alpha.run("head -c 100000 /dev/urandom | socat -u STDIN TCP:10.8.0.2:9010")
        # socat is done when the kernel has taken all of it: the link has to be empty as well.
        kit.lab.wait_for(lambda: kit.beta.run("pgrep -x socat", check=False).returncode != 0, 60, "the data is there")
        return time.monotonic() - begin

    transfer()
    kit.lab.links.slow(0.4)
    seconds = transfer()
    assert seconds > 1.5, "100 kB took %.1f s at 0.4 Mbit/s" % seconds


@case("cut-bridge")
def a_cut_bridge_hides_the_guests(kit):
    guest = kit.guest("pvh2")
    client = kit.sequence(guest)
    client.wait_told(5)
    kit.lab.links.cut(plan.BRIDGE)
    time.sleep(1)
    told = client.told
    time.sleep(2)
    assert client.told == told, "a guest was heard over a link that is cut"
    kit.lab.links.heal()
    client.wait_told(5)
    client.stop()


@case("hang")
def a_hung_host_goes_on_where_it_was(kit):
    guest = kit.guest("pvh2")
    client = kit.sequence(guest)
    client.wait_told(5)
    kit.alpha.hang()
    assert kit.alpha.state() == "hung"
    time.sleep(1)
    told = client.told
    time.sleep(2)
    assert client.told == told, "a guest of a hung host was heard"
    kit.alpha.unhang()
    client.wait_told(5)
    client.stop()
    guest.memory()


def told_apart(kit, expected, hurt, heal):
    """What the hosts say of a pair that `hurt` parts and `heal` joins again, which are given the standby's pid."""
    name = "pvh2"
    kit.guest(name)
    pid = kit.standby(kit.beta, "--activation", "cold")
    kit.protect(name, kit.alpha, kit.beta)
    kit.wait_protected(name, kit.alpha)
    hurt(pid)
    for host, role in ((kit.alpha, "primary"), (kit.beta, "standby")):
        if host.name not in expected:
            continue
        kit.lab.wait_for(
            lambda: kit.status(name, host, role).get("link_failure") in expected[host.name],
            60, "%s calls it %s" % (host.name, " or ".join(expected[host.name])),
        )
    heal(pid)
    kit.wait_protected(name, kit.alpha)
    assert "link_failure" not in kit.status(name, kit.beta, "standby")


@case("told-apart-cut", ci=False, seconds=240)
def a_black_hole_is_unreachable(kit):
    links = kit.lab.links
    # Cut in the middle of a frame, the standby has nothing under way that could tell.
    expected = {"alpha": ["unreachable"], "beta": ["unreachable", "silent"]}
    told_apart(kit, expected, lambda pid: links.cut(), lambda pid: links.heal())


@case("told-apart-stopped", ci=False, seconds=240)
def a_stopped_process_is_stopped(kit):
    def send(signal):
        return lambda pid: kit.beta.run("kill -%s %d" % (signal, pid))

    told_apart(kit, {"alpha": ["stopped"]}, send("STOP"), send("CONT"))


@case("told-apart-hung", ci=False, seconds=240)
def a_hung_host_is_unreachable(kit):
    told_apart(kit, {"beta": ["unreachable", "silent"]}, lambda pid: kit.alpha.hang(), lambda pid: kit.alpha.unhang())


@case("power-loss", seconds=240)
def power_loss_loses_what_was_not_written(kit):
    host = kit.beta
    host.run("echo kept >/var/lib/remusd/kept && sync -f /var/lib/remusd/kept && echo kept >/root/kept && sync -f /root/kept")
    host.run("echo lost >/var/lib/remusd/lost; echo lost >/run/lost")
    host.power_off()
    assert host.state() == "off"
    try:
        host.run("true", timeout=10)
        raise AssertionError("a host without power took a command")
    except LabError:
        pass
    kit.lab.power_on(host)
    assert host.run("cat /var/lib/remusd/kept /root/kept").stdout.split() == ["kept", "kept"]
    left = host.run("cat /var/lib/remusd/lost /run/lost 2>/dev/null", check=False).stdout
    assert "lost" not in left, "what was never written to a disk is there after a power loss"
    host.run("rm /root/kept")
