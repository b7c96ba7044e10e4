"""The hosts are what the other cases take them for."""

from runner import case


@case("hosts")
def hosts_have_what_remusd_needs(kit):
    for host in (kit.alpha, kit.beta):
        assert "xen-3.0-x86_64" in host.run("xl info xen_caps").stdout, "%s is no Xen host" % host.name
        assert "hvm" in host.run("xl info virt_caps").stdout, "%s cannot run PVH guests" % host.name
        assert host.run("hostname").stdout.strip() == host.name
        mounted = host.run("grep ' /var/lib/remusd ' /proc/mounts").stdout
        assert mounted.startswith("/dev/vdb ") and " ext4 " in mounted, "the state disk is %s" % mounted
        assert "has_journal" in host.run("dumpe2fs -h /dev/vdb 2>/dev/null").stdout, "the state disk has no journal"


@case("plug")
def held_output_can_be_had(kit):
    """A plug behind a redirect from a device's ingress, as remusd hangs it on a guest's vif."""
    host = kit.alpha
    host.run(
        "set -e; ip link add t0 type dummy; ip link add t1 type ifb; ip link set t0 up; ip link set t1 up; "
        "tc qdisc add dev t0 ingress; tc filter add dev t0 parent ffff: protocol all matchall "
        "action mirred egress redirect dev t1; tc qdisc add dev t1 root plug limit 1000000"
    )
    shown = host.run("tc qdisc show dev t1; ip link del t0; ip link del t1").stdout
    assert "plug" in shown, shown


@case("remusd-runs")
def remusd_runs(kit):
    for host in (kit.alpha, kit.beta):
        host.run("remusd --version")
