"""After a power cut of both hosts: xendomains starts a guest on the host that ran it last, once the other one has confirmed
that, and on no other."""

from runner import case

# What Debian's xendomains wants of an init system that is not there.
STUB = """
mkdir -p /lib/lsb /lib/init; : >/lib/init/vars.sh
printf 'log_action_%s_msg() { echo "$@"; }\\n' begin cont end >/lib/lsb/init-functions
printf 'log_action_msg() { echo "$@"; }\\n' >>/lib/lsb/init-functions
sed -i 's|^XENDOMAINS_AUTO=.*|XENDOMAINS_AUTO=/run/remusd/auto|' /etc/default/xendomains
mkdir -p /etc/xen/auto /var/lib/xen/save; ln -sf /etc/xen/pv1.cfg /etc/xen/auto/
"""


def boots(kit, host, patience=0):
    """What remusd's part of a boot says, and what xendomains starts after it."""
    kit.standby(host)
    said = host.run(["remusd", "boot-guard", "--patience", "%ds" % patience], timeout=patience + 60).stdout
    host.run("/etc/init.d/xendomains start", timeout=200)
    return said


def runs(kit, guest, *hosts):
    for host in kit.lab.hosts.values():
        if host.state() == "on":
            state = guest.state(host)
            assert (state is not None) == (host in hosts), "%s on %s: %s" % (guest.name, host.name, state)


def clear(kit):
    for host in kit.lab.hosts.values():
        host.run("rm -f /etc/xen/auto/*", check=False)


@case("boot-guard", ci=False, seconds=900)
def both_hosts_lose_power(kit):
    try:
        for host in kit.lab.hosts.values():
            host.run(STUB)
        kit.beta.run("ln -s /etc/xen/small.cfg /etc/xen/auto/")  # One that remusd does not know.
        guest = kit.guest("pv1")
        kit.standby(kit.beta)
        kit.protect("pv1", kit.alpha, kit.beta)
        kit.wait_protected("pv1", kit.alpha)
        kit.disturbed = True
        # The standby's host comes back first, and alone: nothing that remusd knows is started. The other one comes later.
        for host in (kit.alpha, kit.beta):
            host.power_off()
        kit.lab.power_on(kit.beta)
        said = boots(kit, kit.beta)
        assert "pv1: NOT STARTED" in said and "small: starts" in said, said
        runs(kit, guest)
        kit.lab.power_on(kit.alpha)
        said = boots(kit, kit.alpha, patience=30)
        assert "pv1: starts" in said, said
        runs(kit, guest, kit.alpha)
        guest.wait()
        # The other way round: the primary's host is first, asks nobody, and waits for a word.
        for host in (kit.alpha, kit.beta):
            host.power_off()
        kit.lab.power_on(kit.alpha)
        said = boots(kit, kit.alpha)
        assert "pv1: NOT STARTED" in said and "does not answer" in said, said
        refused = kit.alpha.run("remusd start pv1", check=False)
        assert refused.returncode == 13, refused.stdout
        runs(kit, guest)
        kit.lab.power_on(kit.beta)
        said = boots(kit, kit.beta)
        assert "pv1: NOT STARTED" in said, said
        runs(kit, guest)
        kit.alpha.run("remusd start pv1", timeout=200)
        runs(kit, guest, kit.alpha)
        guest.wait()
        # Activated on the other host, which then loses power, as does the first: it belongs to the other one now.
        kit.protect("pv1", kit.alpha, kit.beta)
        kit.wait_protected("pv1", kit.alpha)
        kit.alpha.power_off()
        kit.wait_peer_lost("pv1", kit.beta)
        kit.activate("pv1", kit.beta, "--confirm-fenced", "alpha")
        guest.wait()
        kit.beta.power_off()
        kit.lab.power_on(kit.alpha)
        said = boots(kit, kit.alpha)
        assert "pv1: NOT STARTED" in said, said
        kit.lab.power_on(kit.beta)
        kit.standby(kit.beta)
        refused = kit.alpha.run("remusd start pv1", check=False)
        assert refused.returncode == 10, refused.stdout
        # beta stays off for good: somebody vouches for that, on alpha.
        kit.beta.power_off()
        kit.lab.wait_for(
            lambda: kit.alpha.run("remusd start pv1 --confirm-fenced 10.8.0.2", timeout=200, check=False).returncode == 0,
            120,
            "the guest may be started on a host that has been up for alone-after",
        )
        runs(kit, guest, kit.alpha)
    finally:
        for host in kit.lab.hosts.values():
            if host.state() == "off":
                kit.lab.power_on(host)
        clear(kit)
