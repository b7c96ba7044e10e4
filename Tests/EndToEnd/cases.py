"""For scripts/e2e. One case a function: what the commands promise, on the program as it is shipped."""

import os
import re
import signal
import socket
import struct
import subprocess
import time

from . import arbitration, replay
from .relay import Relay
from .rig import check, until
from .traffic import Connection, Traffic, request, split

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Skip(Exception):
    """It cannot be tried here."""


def pair(rig, name="web1", *more, memory="64MiB"):
    """A protected guest: its hosts and processes."""
    primary, standby = rig.host("p"), rig.host("s")
    daemon = standby.standby()
    guest = primary.guest(name, memory)
    protection = primary.protect(name, daemon.address, *more)
    primary.protected(name)
    return primary, standby, daemon, guest, protection


def lose(*processes):
    for process in processes:
        process.signal(signal.SIGKILL)
    for process in processes:
        process.popen.wait(10)


def expect(answer, code, words=""):
    check(answer.code == code, "ends with %d: %d %s" % (code, answer.code, answer.text))
    check(words in answer.text, "says '%s': %s" % (words, answer.text))
    return answer


def redis_benchmark(rig, seed):
    """redis-benchmark against a guest that is checkpointed, then the loss of its primary."""
    primary, standby, _, guest, protection = pair(rig)
    host, port = split(guest.address)
    command = ["redis-benchmark", "-h", host, "-p", str(port), "-q", "-t", "set,incr", "-P", "16", "-n", "100000", "-r", "20000"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    except FileNotFoundError:
        raise Skip("no redis-benchmark: apt-get install redis-tools")
    check(done.returncode == 0 and "INCR" in done.stdout, "redis-benchmark comes to its end: " + done.stdout[-300:])
    connection = Connection(guest.address)
    size = connection.ask("DBSIZE")
    counters = ["counter:%012d" % n for n in range(20000)]
    told = [int(value or 0) for value in connection.ask_all([("GET", name) for name in counters])]
    check(sum(told) == 100000, "every INCR counted once: %d" % sum(told))
    # Once more, and this time it does not get to its end.
    again = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1)
    lose(guest, protection)
    again.terminate()
    again.wait(10)
    answer = expect(standby.activate("web1"), 0)
    connection = Connection(answer.json()["address"])
    check(connection.ask("DBSIZE") >= size, "DBSIZE is at or past what clients were told")
    now = [int(value or 0) for value in connection.ask_all([("GET", name) for name in counters])]
    check(all(a >= b for a, b in zip(now, told)), "each counter is at or past what clients were told")


def activate_is_idempotent(rig, seed):
    """0 again; --dry-run changes nothing; 10 while the primary lives; 12, 14, 64, 75."""
    empty = rig.host("e")
    expect(empty.run("activate", "web1"), 75, "standby")
    primary, standby, _, guest, protection = pair(rig)
    traffic = Traffic(guest.address, seed)
    expect(standby.run("activate", "nobody"), 12)
    expect(standby.run("activate"), 64)
    expect(standby.run("activate", "web1", "--no-such-option"), 64)
    expect(standby.run("activate", "web1"), 10, "alive")
    expect(standby.run("activate", "web1", "--dry-run"), 10, "alive")
    traffic.flows()
    lose(guest, protection)
    generation = standby.status("web1", "standby")["generation"]
    expect(standby.run("activate", "web1", "--if-generation", generation + 7), 14)
    until("a dry run to be allowed", 5, lambda: standby.run("activate", "web1", "--dry-run").code == 0)
    status = standby.status("web1", "standby")
    check(status["state"] == "peer-lost" and status["generation"] == generation, "a dry run changes nothing: %s" % status["state"])
    check(standby.embedded("web1") is None, "a dry run starts nothing")
    first = expect(standby.run("activate", "web1", "--if-generation", generation, "--output", "json"), 0).json()
    second = expect(standby.run("activate", "web1", "--output", "json"), 0).json()
    check(second["address"] == first["address"] == guest.address, "the address stays: %s" % second)
    check(second["generation"] == generation + 1, "one activation, one generation: %s" % second)
    traffic.flows()
    traffic.audit()


def unconfirmed(rig, seed):
    """13 while nobody vouches that a silent primary is off, or somebody vouches for another."""
    primary, standby = rig.host("p"), rig.host("s")
    daemon = standby.standby()
    guest = primary.guest("web1")
    relay = Relay(daemon.address)
    rig.closers.append(relay.stop)
    primary.protect("web1", relay.address)
    primary.protected("web1")
    relay.open.clear()
    standby.reach("web1", "standby", "the primary to be missed", lambda s: s["state"] == "peer-lost", 10)
    expect(standby.run("activate", "web1"), 13, "--confirm-fenced")
    expect(standby.run("activate", "web1", "--confirm-fenced", "WRONG"), 13, "WRONG")
    # On one machine the silent guest still has its address.
    elsewhere = ("--listen", "127.0.0.1:0")
    expect(standby.run("activate", "web1", "--dry-run", "--confirm-fenced", socket.gethostname(), *elsewhere), 0)
    relay.open.set()
    primary.protected("web1")
    expect(standby.run("activate", "web1", "--confirm-fenced", socket.gethostname()), 10)


def dropped(rig, seed):
    """14 after a planned end, by 'unprotect' and by Ctrl-C alike; the guest runs on."""
    primary, standby, daemon, guest, protection = pair(rig)
    traffic = Traffic(guest.address, seed)
    expect(primary.run("unprotect", "web1"), 0)
    check(protection.ended() == 0, "protect ends with 0")
    traffic.flows()
    expect(standby.run("activate", "web1"), 14)
    expect(standby.run("activate", "web1", "--confirm-fenced", socket.gethostname(), "--accept-rollback"), 14)
    expect(primary.run("unprotect", "web1"), 0)
    again = primary.protect("web1", daemon.address)
    primary.protected("web1")
    again.signal(signal.SIGINT)
    check(again.ended() == 0, "Ctrl-C is 'unprotect'")
    expect(standby.run("activate", "web1"), 14)
    traffic.flows()
    traffic.audit()


def address_in_use(rig, seed):
    """15 while somebody has the guest's address, and nothing is granted; --listen names another."""
    primary, standby, _, guest, protection = pair(rig)
    traffic = Traffic(guest.address, seed)
    traffic.flows()
    traffic.finish()
    traffic.order = "write"
    lose(guest, protection)
    blocker = socket.create_server(split(guest.address))
    try:
        answer = standby.activate("web1")
        expect(answer, 15, split(guest.address)[0])
        expect(standby.run("activate", "web1", "--dry-run"), 15)
        check(standby.status("web1", "standby")["state"] != "active", "nothing was granted")
        answer = expect(standby.run("activate", "web1", "--listen", "127.0.0.1:0", "--output", "json"), 0).json()
        check(answer["address"] != guest.address, "it is reached elsewhere: %s" % answer["address"])
    finally:
        blocker.close()
    traffic.audit(answer["address"])


def maybe_older(rig, seed):
    """16 when the standby cannot know that the primary did not run alone in the meantime."""
    primary, standby, daemon, guest, protection = pair(rig, "web1", "--alone-after", "1500ms")
    traffic = Traffic(guest.address, seed)
    traffic.flows()
    traffic.finish()
    daemon.kill()
    lose(guest, protection)
    time.sleep(1.6)
    standby.standby(listen=daemon.address)
    expect(standby.activate("web1"), 16, "--accept-rollback")
    answer = expect(standby.run("activate", "web1", "--accept-rollback", "--output", "json"), 0).json()
    # Here nobody ran alone, so nothing is missing.
    traffic.audit(answer["address"])


def tee_and_export(rig, seed):
    """What goes over the wire and what is exported are genuine streams, for our reader and for Xen's."""
    tee = os.path.join(rig.directory, "tee")
    primary, standby, _, guest, protection = pair(rig, "web1", "--tee", tee, memory="32MiB")
    traffic = Traffic(guest.address, seed)
    traffic.flows()
    image = os.path.join(rig.directory, "image")
    expect(standby.run("export", "web1", image), 0)
    expect(standby.run("inspect", "--summary", image), 0)
    expect(primary.run("unprotect", "web1"), 0)
    check(protection.ended() == 0, "protect ends with 0")
    answer = expect(primary.run("inspect", "--summary", tee), 0)
    check(re.search("checkpoint", answer.text, re.I), "the tee holds checkpoints: " + answer.text[-300:])
    traffic.audit()
    verifier = os.path.join(ROOT, "scripts", "verify-export")
    if os.access(verifier, os.X_OK):
        done = subprocess.run([verifier, image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        if done.returncode == 69:
            raise Skip("ours passed; Xen's verifier cannot be had: " + done.stdout.strip())
        check(done.returncode == 0, "Xen's own verifier accepts the export: " + done.stdout[-400:])


def failback(rig, seed):
    """The activated guest is protected to its old host and activated back there."""
    primary, standby, _, guest, protection = pair(rig)
    traffic = Traffic(guest.address, seed)
    traffic.flows()
    lose(guest, protection)
    expect(standby.activate("web1"), 0)
    traffic.flows()
    # The old primary's host keeps images now, in the same directories.
    back = primary.standby()
    second = standby.protect("web1", back.address)
    standby.protected("web1")
    traffic.flows()
    pid = standby.embedded("web1")["pid"]
    os.kill(pid, signal.SIGKILL)
    second.kill()
    answer = expect(primary.activate("web1"), 0).json()
    check(answer["generation"] >= 4, "the generation rises each time: %s" % answer)
    traffic.flows()
    traffic.audit(answer["address"])


def two_guests(rig, seed):
    """Two guests to one standby at once; both lost, both activated."""
    primary, standby = rig.host("p"), rig.host("s")
    daemon = standby.standby()
    names = ["web1", "web2"]
    guests = [primary.guest(name) for name in names]
    traffics = [Traffic(guest.address, "%s.%d" % (seed, number)) for number, guest in enumerate(guests)]
    protections = [primary.protect(name, daemon.address) for name in names]
    for name in names:
        primary.protected(name)
    for traffic in traffics:
        traffic.flows()
    lose(*guests, *protections)
    for name, traffic in zip(names, traffics):
        expect(standby.activate(name), 0)
        traffic.flows()
        traffic.audit()


def second_of_a_kind(rig, seed):
    """A second protect of a guest, and a second standby of a directory, are refused, and harm nothing."""
    primary, standby, daemon, guest, protection = pair(rig)
    second = primary.protect("web1", daemon.address)
    check(second.ended() == 69, "a second protect ends with 69: %d %s" % (second.code, second.output()))
    check("web1" in second.output(), "it says which guest: " + second.output())
    expect(standby.run("standby", "--listen", "127.0.0.1:0"), 73, "another standby")
    expect(rig.host("o").run("standby", "--listen", daemon.address), 73, "listen")
    expect(primary.run("guest", "run", "web1", "--listen", "127.0.0.1:0"), 1)
    expect(primary.run("protect", "embedded:nobody", "--to", daemon.address), 69, "nobody")
    check(primary.protected("web1")["protected"] and protection.code is None, "the first goes on")


def memory_ceiling(rig, seed):
    """A guest that does not fit is refused before its first epoch, and runs on."""
    primary, standby = rig.host("p"), rig.host("s")
    daemon = standby.standby("--memory-ceiling", "1MiB")
    guest = primary.guest("web1")
    traffic = Traffic(guest.address, seed)
    traffic.flows()
    protection = primary.protect("web1", daemon.address)
    check(protection.ended() == 75, "protect ends with 75: %s" % protection.output())
    check("memory ceiling" in protection.output(), "it says why: " + protection.output())
    expect(standby.run("activate", "web1"), 12)
    traffic.flows()
    traffic.audit()


def in_the_background(rig, seed):
    """protect --detach --wait protected."""
    primary, standby = rig.host("p"), rig.host("s")
    daemon = standby.standby()
    guest = primary.guest("web1")
    traffic = Traffic(guest.address, seed)
    expect(primary.run("protect", "embedded:web1", "--to", daemon.address, "--detach", "--wait", "protected"), 0, "pid")
    check(primary.status("web1", "primary")["protected"], "protected when the command returns")
    expect(primary.run("wait", "web1", "--for", "protected", "--timeout", "1s"), 0)
    traffic.flows()
    expect(primary.run("unprotect", "web1"), 0)
    traffic.flows()
    traffic.audit()
    expect(primary.run("protect", "embedded:none", "--to", daemon.address, "--detach", "--wait", "protected"), 69)


def guest_stop(rig, seed):
    """A guest that is shut down ends its protection as planned; the standby drops its image."""
    primary, standby, _, guest, protection = pair(rig)
    expect(primary.run("guest", "stop", "web1"), 0)
    check(guest.ended() == 0, "the guest ends with 0")
    check(protection.ended() == 0, "protect ends with 0: " + protection.output())
    expect(standby.run("activate", "web1"), 14)


def another_standby(rig, seed):
    """Over a closed plug, another --to waits as long as the older image may be activated; a shorter --alone-after does not count."""
    primary, _, daemon, guest, protection = pair(rig, "web1", "--alone-after", "4s")
    traffic = Traffic(guest.address, seed)
    traffic.flows()
    traffic.finish()
    lose(protection)
    other = rig.host("o")
    second = other.standby()
    client = Connection(guest.address)
    client.send(request("SET", "held", "1"))
    protection = primary.protect("web1", second.address, "--alone-after", "1500ms")
    status = primary.reach("web1", "primary", "the older image to be waited for", lambda s: s["state"] == "peer-lost")
    check(any(daemon.address in reason for reason in status["reasons"]), "it names the other standby: %s" % status["reasons"])
    # Killed and begun anew, it still knows.
    lose(protection)
    begin = time.monotonic()
    protection = primary.protect("web1", second.address, "--alone-after", "1500ms")
    check(client.receive(30) == [b"OK"], "the held answer comes in the end")
    waited = time.monotonic() - begin
    check(4 <= waited < 10, "held for the older image's alone-after: %.1f s" % waited)
    primary.protected("web1")
    lose(guest, protection)
    answer = expect(other.activate("web1"), 0).json()
    traffic.audit(answer["address"])


def outdated_again(rig, seed):
    """An outdated copy stays silent, protected anew with nobody to ask, and unprotected too."""
    primary, standby = rig.host("p"), rig.host("s")
    daemon = standby.standby()
    guest = primary.guest("web1")
    relay = Relay(daemon.address)
    rig.closers.append(relay.stop)
    protection = primary.protect("web1", relay.address)
    primary.protected("web1")
    traffic = Traffic(guest.address, seed)
    traffic.flows()
    traffic.finish()
    relay.open.clear()
    # A false word: the primary is only cut off.
    answer = standby.activate("web1", "--confirm-fenced", socket.gethostname(), "--listen", "127.0.0.1:0")
    expect(answer, 0)
    relay.open.set()
    primary.reach("web1", "primary", "the copy to be outdated", lambda s: s["state"] == "outdated", 10)
    lose(protection)
    relay.open.clear()
    for _ in range(2):
        protection = primary.protect("web1", relay.address, "--alone-after", "1500ms")
        primary.reach("web1", "primary", "the copy to be outdated still", lambda s: s["state"] == "outdated", 10)
        time.sleep(3)
        status = primary.status("web1", "primary")
        check(status["state"] == "outdated", "it stays so with nobody to ask: %s" % status["state"])
        check(status["generation"] > 0 and any("OUTDATED" in reason for reason in status["reasons"]), status["reasons"])
        expect(primary.run("unprotect", "web1"), 0)
        protection.ended()
    check(primary.embedded("web1")["plug"] == "dropping", "what it says is dropped still: %s" % primary.embedded("web1"))
    traffic.audit(answer.json()["address"])


def no_record(rig, seed):
    """Output that was held when the record was lost does not go out on a word of a standby that never had an image."""
    primary, standby, daemon, guest, protection = pair(rig)
    traffic = Traffic(guest.address, seed)
    traffic.flows()
    traffic.finish()
    lose(protection)
    client = Connection(guest.address)
    client.send(request("SET", "held", "1"))
    os.unlink(os.path.join(primary.env["REMUSD_STATE_DIR"], "primary-web1.json"))
    other = rig.host("o")
    protection = primary.protect("web1", other.standby().address, "--alone-after", "1500ms")
    status = primary.reach("web1", "primary", "protect to wait", lambda s: s["state"] == "peer-lost")
    check(any("no record" in reason for reason in status["reasons"]), "it says why: %s" % status["reasons"])
    check(client.receive(3) == [], "what was held stays held")
    lose(guest, protection)
    answer = expect(standby.activate("web1"), 0).json()
    traffic.audit(answer["address"])


def xen_guest_without_xen(rig, seed):
    """A Xen guest's image is kept, shown and exported where there is no Xen; activate says why it cannot start it."""
    if os.path.exists("/proc/xen/privcmd"):
        raise Skip("this machine runs under Xen")
    primary, standby = rig.host("p"), rig.host("s")
    daemon = standby.standby()
    guest = primary.guest("web1", "16MiB")
    tee = os.path.join(rig.directory, "tee")
    protection = primary.protect("web1", daemon.address, "--tee", tee)
    until("two epochs", 20, lambda: (primary.protected("web1")["epoch"]["acked"] or 0) > 2)
    expect(primary.run("unprotect", "web1"), 0)
    lose(guest)
    protection.ended()
    with open(tee, "rb") as file:
        stream = file.read()
    # Nothing says any more that it is an embedded guest: neither its configuration nor a record of its state.
    mark = b',"remusd":{"host":"embedded"}'
    check(mark in stream, "the mark of the embedded host")
    stream = stream.replace(mark, b" " * len(mark)).replace(struct.pack("<HH", 0xE201, 0), struct.pack("<HH", 0xE2FF, 0))
    recording = replay.Recording(stream, rename="db")
    session = replay.Session(recording, daemon.address, generation=1)
    session.play(2)
    status = standby.reach("db", "standby", "a word on Xen", lambda s: any("Xen" in r for r in s["reasons"]))
    check(status["state"] == "standby" and not status["may_activate"], "an image, not to be activated: %s" % status)
    session.socket.close()
    order = ("activate", "db", "--confirm-fenced", "recording", "--accept-rollback")
    answer = expect(standby.run(*order), 15, "Xen")
    check("the guest cannot be started here" in answer.text, answer.text)
    image = os.path.join(rig.directory, "db.img")
    expect(standby.run("export", "db", image), 0)
    expect(standby.run("inspect", "--summary", image), 0)
    record = standby.status("db", "standby")
    check(record["generation"] == 1, "nothing was granted: %s" % record)


def paired(standby, primary):
    """'remusd pair' on two hosts, by the code; what each kept of the other."""
    one = standby.asked("pair", "pair", "--listen", "127.0.0.1:0", "--guest", "web1")
    address = re.match(r"waiting at (\S+):", one.stdout.readline()).group(1)
    two = primary.asked("pair", "pair", "--to", address)
    codes = []
    for side in (one, two):
        line = ""
        while not line.startswith("code"):
            line = side.stdout.readline()
            check(line, "a code is shown before the end")
        codes.append(line.split(None, 1)[1].strip())
    check(codes[0] == codes[1] and len(codes[0]) == 9, "both show one code: %s" % codes)
    check(standby.run("pair", "list", "--output", "json").json() == [], "nothing is kept before a yes")
    for side in (one, two):
        side.stdin.write("y\n")
        side.stdin.flush()
    for side in (one, two):
        rest, _ = side.communicate(timeout=20)
        check(side.returncode == 0, "paired: %s" % rest)
    return [host.run("pair", "list", "--output", "json").json() for host in (standby, primary)]


def paired_over_tls(rig, seed):
    """Paired by a code, then under TLS: strangers and other guests are refused, and a failover is one as ever."""
    primary, standby, stranger = rig.host("p"), rig.host("s"), rig.host("x")
    kept, _ = paired(standby, primary)
    check(len(kept) == 1 and kept[0]["guests"] == ["web1"], "one host, one guest: %s" % kept)
    daemon = standby.standby("--tls")
    guest = primary.guest("web1")
    protection = primary.protect("web1", daemon.address, "--tls")
    status = primary.protected("web1")
    check(status["transport"].startswith("tls1.3/TLS_"), "TLS: %s" % status["transport"])
    check(standby.status("web1", "standby")["transport"] == status["transport"], "the standby says the same")
    traffic = Traffic(guest.address, seed)
    traffic.flows()
    stranger.guest("web2")
    plain = stranger.protect("web2", daemon.address)
    check(plain.ended() == 75 and "TLS only" in plain.output(), "plaintext is refused, and told so: " + plain.output())
    # It knows the standby; the standby does not know it.
    name, pin = standby.run("pair", "pin").out.split()
    expect(stranger.run("pair", "pin", name, pin), 0)
    unknown = stranger.protect("web2", daemon.address, "--tls")
    unknown.said("does not know this host's key")
    unknown.signal(signal.SIGINT)
    daemon.said("none of a paired host")
    # Known, and for another guest.
    primary.guest("web3")
    other = primary.protect("web3", daemon.address, "--tls")
    check(other.ended() == 75 and "may not replicate" in other.output(), "another guest is refused: " + other.output())
    for _ in range(50):
        with socket.create_connection(split(daemon.address)) as scanner:
            scanner.sendall(b"GET / HTTP/1.1\r\n\r\n")
    check(primary.status("web1", "primary")["protected"], "whatever strangers do")
    traffic.flows()
    lose(guest, protection)
    expect(standby.activate("web1"), 0)
    traffic.flows()
    traffic.audit()


CASES = [
    activate_is_idempotent, unconfirmed, dropped, address_in_use, maybe_older, tee_and_export, failback, two_guests,
    second_of_a_kind, paired_over_tls, another_standby, outdated_again, no_record, memory_ceiling, in_the_background, guest_stop,
    xen_guest_without_xen, redis_benchmark, *arbitration.CASES,
]
