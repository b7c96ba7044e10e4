"""remusd between the two hosts."""

import re

from runner import case


@case("demo-in-dom0", ci=False, seconds=400)
def the_demo_runs_in_a_host(kit):
    kit.tidy(guests=True)  # It has deadlines of its own and wants the host for itself.
    shown = kit.alpha.run("remusd demo --memory 16MiB --interval 200ms", timeout=380).stdout
    assert shown.rstrip().endswith("lost 0"), shown[-300:]


@case("embedded-failover", seconds=300)
def an_embedded_guest_survives_the_loss_of_its_host(kit):
    """The example for cases of protection: a pair, a power loss, an activation. (Without Xen's part: an ordinary process.)"""
    kit.standby(kit.beta)
    kit.start(kit.alpha, "guest", "remusd guest run lab1 --memory 32MiB --listen 10.8.0.1:6400")
    kit.lab.wait_for(lambda: kit.alpha.run("remusd guest list", check=False).stdout.count("lab1"), 60, "the guest runs")
    kit.protect("embedded:lab1", kit.alpha, kit.beta)
    kit.wait_protected("lab1", kit.alpha)
    told = kit.alpha.run("printf 'SET a 1\\r\\nINCR a\\r\\n' | socat -t 5 STDIO TCP:10.8.0.1:6400,shut-none").stdout
    assert re.search(r"\+OK\s+:2", told), told
    kit.alpha.power_off()
    kit.wait_peer_lost("lab1", kit.beta)
    kit.activate("lab1", kit.beta, "--confirm-fenced", "alpha", "--listen", "10.8.0.2:6400")
    told = kit.beta.run("printf 'GET a\\r\\n' | socat -t 5 STDIO TCP:10.8.0.2:6400,shut-none").stdout
    assert re.search(r"\$1\s+2", told), told
