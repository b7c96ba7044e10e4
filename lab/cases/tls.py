"""Protection as it is by default between two hosts: under TLS, by keys that two people have compared codes for. Whoever is not
paired gets nothing, and nobody on the way can read what goes over the link (docs/security.md)."""

import json
import os
import re

import plan
from cases.failover import lose_primary
from kit import LOGS, STANDBY_PORT
from runner import case

NAME = "pv1"
PAIR_PORT = 7071
CHECK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wire-check.py")
ANSWER = "/run/answer"
# What each kernel has in its memory.
BANNER = "Linux version "
# Of the guest's memory, at least so much goes over the link: its kernel alone is more.
LEAST_BYTES = 8 << 20


class Wire:
    """Watches what comes and goes over the replication link, at beta."""

    def __init__(self, kit, *words):
        self.kit = kit
        with open(CHECK, "rb") as file:
            kit.beta.run("cat >/tmp/wire-check.py; rm -f %s/wire.log" % LOGS, input=file.read())
        self.pid = kit.start(kit.beta, "wire", ["python3", "/tmp/wire-check.py", plan.REPLICATION] + list(words))
        wait_logged(kit, kit.beta, "wire", "watching")

    def stop(self):
        """How many bytes it saw, and for each word in how many frames that was."""
        self.kit.beta.run("kill %d" % self.pid)
        lines = self.kit.lab.wait_for(
            lambda: (logged(self.kit.beta, "wire").splitlines() or [""])[1:], 30, "the link's watcher says what it saw"
        )
        frames, size, missed, *found = (int(word) for word in lines[0].split())
        self.kit.say("the link: %d frames seen, %d missed, %d bytes; words: %s" % (frames, missed, size, found))
        return size, found


def logged(host, log):
    return host.run("cat %s/%s.log" % (LOGS, log), check=False).stdout


def wait_logged(kit, host, log, text, seconds=60):
    what = "%s.log of %s has: %s" % (log, host.name, text)
    kit.lab.wait_for(lambda: text in logged(host, log), seconds, what)


def nothing_arrived(kit):
    """The standby knows no guest, and its host has none."""
    assert json.loads(kit.beta.run("remusd status --output json").stdout) == []
    listed = kit.beta.run("xl list").stdout
    assert NAME not in listed, listed


def pin(host):
    """A host's name and the pin of its key."""
    return host.run("remusd pair pin").stdout.split()


def paired_hosts(host):
    return [[each["host"], each["pin"]] for each in json.loads(host.run("remusd pair list --output json").stdout)]


def pair(kit):
    """`remusd pair` on both hosts, over the replication link: two people see one code, and each of them says so."""
    address = "%s:%d" % (plan.REPLICATION_ADDRESS["beta"], PAIR_PORT)
    sides = ((kit.beta, "--listen"), (kit.alpha, "--to"))
    for host, option in sides:
        # Held open by the one that reads the answer, so that it waits for it.
        host.run("rm -f %s && mkfifo %s" % (ANSWER, ANSWER))
        kit.start(host, "pair", "remusd pair %s %s <>%s" % (option, address, ANSWER))
    codes = []
    for host, _ in sides:
        shown = kit.lab.wait_for(
            lambda: re.search(r"^code +(\d{4} \d{4})$", logged(host, "pair"), re.M), 60, "%s shows a code" % host.name
        )
        codes.append(shown.group(1))
    kit.say("the codes: %s" % codes)
    assert codes[0] == codes[1], "two codes: %s" % codes
    for host, _ in sides:
        assert paired_hosts(host) == [], "%s has kept something before anybody said yes" % host.name
    for host, _ in sides:
        host.run("timeout 10 sh -c 'echo y >%s'" % ANSWER)
    for host, _ in sides:
        wait_logged(kit, host, "pair", "paired with")
    for host, other in ((kit.alpha, kit.beta), (kit.beta, kit.alpha)):
        assert paired_hosts(host) == [pin(other)], "%s is paired with %s" % (host.name, paired_hosts(host))


def refused_in_plaintext(kit, guest):
    """It is told why. What it says goes unencrypted, which the watcher must see, or its silence later on means nothing."""
    wire = Wire(kit, guest.plan.mac)
    refused = kit.protect_ends(NAME, kit.alpha, kit.beta)
    assert refused.returncode == 75, "protect ends with %d: %s" % (refused.returncode, refused.stdout)
    assert "this standby takes TLS only" in refused.stdout, refused.stdout
    wait_logged(kit, kit.beta, "standby", "it speaks plaintext, and this standby takes TLS only")
    nothing_arrived(kit)
    _, found = wire.stop()
    assert found[0] > 0, "the watcher does not see what goes over the link in plaintext"


def refused_by_its_key(kit):
    """alpha knows beta, and not the other way round."""
    kit.alpha.run(["remusd", "pair", "pin"] + pin(kit.beta))
    kit.protect(NAME, kit.alpha, kit.beta, "--tls")
    wait_logged(kit, kit.alpha, "protect-" + NAME, "the peer does not know this host's key")
    wait_logged(kit, kit.beta, "standby", "is none of a paired host")
    assert not kit.status(NAME, kit.alpha, "primary")["protected"]
    nothing_arrived(kit)
    kit.alpha.run(["remusd", "unprotect", NAME], timeout=120)
    kit.lab.wait_for(
        lambda: kit.alpha.run("pgrep -f '^remusd protect'", check=False).returncode != 0, 60, "protect has ended"
    )
    kit.alpha.run("remusd pair forget beta")


def transport(kit):
    """What protects the connection, as both sides have it."""
    sides = [kit.status(NAME, host, role)["transport"] for host, role in ((kit.alpha, "primary"), (kit.beta, "standby"))]
    assert sides[0] == sides[1] and sides[0].startswith("tls1.3/TLS_"), sides
    # The one that needs no such instructions is taken as soon as either side has none.
    if any(host.run("grep -qw aes /proc/cpuinfo", check=False).returncode != 0 for host in (kit.alpha, kit.beta)):
        assert sides[0] == "tls1.3/TLS_CHACHA20_POLY1305_SHA256", sides
    print("        the link is under %s" % sides[0], flush=True)
    kit.say("the link is under %s" % sides[0])


@case("tls-pv1", ci=False, seconds=900)
def a_paired_host_protects_and_nobody_else_does(kit):
    guest = kit.guest(NAME)
    kit.standby(kit.beta, "--tls")
    refused_in_plaintext(kit, guest)
    refused_by_its_key(kit)
    pair(kit)
    wire = Wire(kit, guest.plan.mac, BANNER)
    kit.protect(NAME, kit.alpha, kit.beta, "--tls")
    kit.wait_protected(NAME, kit.alpha, seconds=300)
    size, found = wire.stop()
    assert size > LEAST_BYTES, "of the guest's memory only %d bytes were seen" % size
    assert found == [0, 0], "the guest can be read on the way: %s" % found
    transport(kit)
    # Whoever else knocks meanwhile.
    standby = "%s:%d" % (plan.REPLICATION_ADDRESS["beta"], STANDBY_PORT)
    knock = "for i in 1 2 3 4 5; do printf 'GET / HTTP/1.1\\r\\n\\r\\n' | socat -t 2 STDIO TCP:%s; done"
    kit.alpha.run(knock % standby, check=False)
    kit.wait_protected(NAME, kit.alpha)
    lose_primary(kit, [guest], kit.alpha, kit.beta)
