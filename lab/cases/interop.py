"""With Xen's own tools: what remusd exports is restored by xl; xl remus sends to a standby of ours, and ours to an xl."""

import json

import plan
from kit import PATIENCE, STANDBY_PORT
from runner import case


def restores_an_export(kit, name):
    guest = kit.guest(name)
    kit.standby(kit.beta, "--activation", "cold")
    kit.protect(name, kit.alpha, kit.beta)
    kit.wait_protected(name, kit.alpha, seconds=240)
    written = guest.memory()
    # What is exported is committed, so what the checker said has been written by then.
    image = "/var/tmp/%s.img" % name
    kit.beta.run(["remusd", "export", name, image], timeout=180)
    shown = kit.beta.run(["remusd", "inspect", "--summary", image]).stdout
    assert "well-formed and whole" in shown, shown
    kit.alpha.run(["remusd", "unprotect", name], timeout=120)
    guest.destroy(kit.alpha)
    kit.beta.run("xl restore %s && rm %s" % (image, image), timeout=180)
    guest.wait()
    assert guest.memory() >= written, "%s went back behind what its checker had said" % name
    guest.destroy(kit.beta)


for _name in ("pv1", "pvh1"):
    case("interop-export-" + _name, ci=False, seconds=500)(lambda kit, name=_name: restores_an_export(kit, name))


def committed(kit, name, host, role, epochs):
    """Until a session has come so far; nobody may have called the guest protected."""

    def so_far():
        status = kit.status(name, host, role)
        assert not status["protected"], "an xl's guest is called protected: %s" % status
        return (status["epoch"]["committed"] or 0) >= epochs and status["state"] == "unacknowledged"

    kit.lab.wait_for(so_far, 300, "%s: %d epochs, unacknowledged" % (name, epochs))


def refuses(host, name, code, *words):
    result = host.run(["remusd", "activate", name] + list(words), check=False, timeout=180)
    assert result.returncode == code, "activate %s: %d, not %d: %s" % (words, result.returncode, code, result.stdout)


def takes_xl_remus(kit, name, activation):
    """xl remus to a standby of ours; the primary's host needs only the command that xl starts."""
    guest = kit.guest(name)
    kit.standby(kit.beta, "--activation", activation, "--unsafe-peer")
    kit.disturbed = True
    written = guest.memory()
    line = "xl remus -Fnd -i 500 -s 'remusd xl-receive --insecure-plaintext --silent-after 40s' %s %s:%d"
    kit.start(kit.alpha, "xl-remus", line % (name, plan.REPLICATION_ADDRESS["beta"], STANDBY_PORT))
    kit.beta.run(["remusd", "wait", name, "--for", "unacknowledged", "--timeout", "240s"], timeout=260)
    committed(kit, name, kit.beta, "standby", 5)
    both = ["--confirm-fenced", "alpha", "--accept-rollback"]
    refuses(kit.beta, name, 10, *both)
    kit.alpha.power_off()
    kit.wait_peer_lost(name, kit.beta, seconds=120)
    refuses(kit.beta, name, 13, "--accept-rollback")
    refuses(kit.beta, name, 16, "--confirm-fenced", "alpha")
    kit.activate(name, kit.beta, *both)
    guest.wait()
    assert guest.memory() >= written, "%s went back to before its first checkpoint" % name
    listed = kit.beta.run("xl list").stdout
    assert "incoming" not in listed and "null" not in listed, listed


for _name, _activation in (("pvh1", "cold"), ("pv1", "warm"), ("pvh1", "warm"), ("pv1", "cold")):
    case("interop-xl-remus-%s-%s" % (_name, _activation), ci=False, seconds=600)(
        lambda kit, name=_name, activation=_activation: takes_xl_remus(kit, name, activation)
    )


@case("interop-refused", ci=False, seconds=300)
def a_standby_that_was_not_told_refuses(kit):
    """xl remus gives up then, and the guest goes on where it is."""
    guest = kit.guest("pvh1")
    kit.standby(kit.beta, "--activation", "cold")
    kit.disturbed = True
    line = "xl remus -Fnd -s 'remusd xl-receive --insecure-plaintext' pvh1 %s:%d 2>&1"
    said = kit.alpha.run(line % (plan.REPLICATION_ADDRESS["beta"], STANDBY_PORT), check=False, timeout=200).stdout
    assert "--unsafe-peer" in said, said
    guest.wait()
    known = kit.beta.run("remusd status --output json", check=False).stdout
    assert all(not each["epoch"]["committed"] for each in json.loads(known)), known


SHELL_PORT = 7099
# What ssh does, but for the encryption, which takes an emulated processor minutes for a guest.
SHELL = """#!/bin/sh
read -r n; script=$(dd bs=$n count=1 iflag=fullblock 2>/dev/null); exec sh -c "$script"
"""
CALL = """#!/bin/sh
{ printf %%s "$2" | wc -c; printf %%s "$2"; exec cat; } | exec socat -b 262144 -t 60 - TCP:$1:%d
""" % SHELL_PORT


def let_in(kit):
    """alpha may run a shell's script on beta: `lab-call HOST SCRIPT`."""
    for host, name, text in ((kit.beta, "lab-shell", SHELL), (kit.alpha, "lab-call", CALL)):
        host.run("cat >/root/%s; chmod 700 /root/%s" % (name, name), input=text.encode())
    kit.start(kit.beta, "lab-shell", "socat -b 262144 TCP-LISTEN:%d,reuseaddr,fork EXEC:/root/lab-shell" % SHELL_PORT)


def protect_at_xl(kit, name):
    command = ["remusd", "protect", name, "--peer", "xl", "--unsafe-peer", "--to", plan.REPLICATION_ADDRESS["beta"]]
    command += ["--peer-command", "/root/lab-call"] + PATIENCE
    kit.disturbed = True
    kit.start(kit.alpha, "protect-" + name, command)
    kit.alpha.run(["remusd", "wait", name, "--for", "unacknowledged", "--timeout", "420s"], timeout=440)
    assert "%s--incoming" % name in kit.beta.run("xl list").stdout
    committed(kit, name, kit.alpha, "primary", 3)


def stands_by_with_xl(kit, name):
    """The other host has no part of remusd: its xl keeps the guest, ended before its input is, and let run by hand."""
    guest = kit.guest(name)
    let_in(kit)
    try:
        protect_at_xl(kit, name)
        kit.alpha.run(["remusd", "unprotect", name], timeout=120)
        kit.lab.wait_for(lambda: name not in kit.beta.run("xl list").stdout, 60, "%s is gone from beta" % name)
        guest.memory()
        protect_at_xl(kit, name)
        redis = kit.redis(guest)
        redis.wait_told(8, seconds=120)
        kit.alpha.power_off()
        listed = kit.beta.run("sleep 5; xl list").stdout
        assert "%s--incoming" % name in listed, "nobody let it run: %s" % listed
        kit.beta.run("kill -USR1 $(cat /run/remusd-xl-%s.pid)" % name)
        kit.lab.wait_for(lambda: guest.state(kit.beta), 120, "%s runs on beta" % name)
        redis.wait_told(8, seconds=120)
        redis.stop()
        guest.memory()
    finally:
        kit.beta.run("kill -TERM $(cat /run/remusd-xl-%s.pid)" % name, check=False)


for _name in ("pvh1", "pv1"):
    case("interop-xl-peer-" + _name, ci=False, seconds=1400)(lambda kit, name=_name: stands_by_with_xl(kit, name))
