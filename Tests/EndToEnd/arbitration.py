"""For scripts/e2e. Who goes on when a side is lost, with an arbiter on a directory that both hosts have."""

import json
import os
import shutil

from .relay import Relay
from .rig import check
from .traffic import Traffic


def shared(rig):
    """A prepared file arbiter: its directory, and how both sides are told of it."""
    directory = os.path.join(rig.directory, "arbiter")
    os.mkdir(directory, 0o700)
    answer = rig.host("x").run("arbiter", "init", "file:" + directory)
    check(answer.code == 0, "the arbiter is prepared: " + answer.text)
    return directory, ["--arbiter", "file:" + directory]


def pair(rig, option, *more):
    primary, standby = rig.host("p"), rig.host("s")
    daemon = standby.standby(*option, *more)
    guest = primary.guest("web1")
    protection = primary.protect("web1", daemon.address, *option)
    primary.protected("web1")
    return primary, standby, daemon, guest, protection


def state(host, role, wanted, seconds=30):
    return host.reach("web1", role, "%s to be %s" % (role, wanted), lambda status: status["state"] == wanted, seconds)


def arbiter_activates(rig, seed):
    """The primary is lost: the standby asks, is granted the guest, and activates it without a word."""
    _, option = shared(rig)
    primary, standby, _, guest, protection = pair(rig, option, "--activate", "auto")
    traffic = Traffic(guest.address, seed)
    traffic.flows()
    # In this order: a primary that lives says that its guest crashed, and then nothing is activated unasked.
    for process in (protection, guest):
        process.kill()
    status = state(standby, "standby", "active")
    check(status["generation"] == 2, "at the next generation: %s" % status)
    traffic.flows()
    traffic.audit(status["address"])


def arbiter_grants_alone(rig, seed):
    """The standby is lost, with its images: the primary is granted the next generation, and is protected again later."""
    _, option = shared(rig)
    primary, standby, daemon, guest, protection = pair(rig, option)
    traffic = Traffic(guest.address, seed)
    traffic.flows()
    os.kill(daemon.guardian, 9)
    daemon.kill()
    state(primary, "primary", "alone")
    traffic.flows()
    standby.standby(*option, listen=daemon.address)
    primary.protected("web1")
    traffic.flows()
    traffic.audit()


def arbiter_cut(rig, seed):
    """The link is cut, both sides live and ask: one of them has the guest, the other is silent."""
    _, option = shared(rig)
    primary, standby = rig.host("p"), rig.host("s")
    daemon = standby.standby(*option)
    relay = Relay(daemon.address)
    rig.closers.append(relay.stop)
    guest = primary.guest("web1")
    primary.protect("web1", relay.address, *option)
    primary.protected("web1")
    relay.open.clear()
    state(primary, "primary", "alone")
    # The guest has its address still, both being on one machine.
    answer = standby.run("activate", "web1", "--listen", "127.0.0.1:0")
    check(answer.code == 11, "the standby is denied: %d %s" % (answer.code, answer.text))
    traffic = Traffic(guest.address, seed)
    traffic.flows()
    traffic.audit()


def arbiter_silent(rig, seed):
    """The arbiter is gone, and then the standby: the guest is held until somebody vouches."""
    directory, option = shared(rig)
    primary, standby, daemon, guest, protection = pair(rig, option)
    os.rename(directory, directory + ".away")
    check(primary.protected("web1")["protected"], "losing the arbiter changes nothing while the pair is connected")
    os.kill(daemon.guardian, 9)
    daemon.kill()
    primary.reach(
        "web1", "primary", "the arbiter to be asked",
        lambda status: any("the arbiter granted nothing" in reason for reason in status["reasons"]),
    )
    check(primary.status("web1", "primary")["state"] == "peer-lost", "and the guest is held")
    answer = primary.run("continue", "web1", "--confirm-fenced", "elsewhere")
    check(answer.code == 13, "another host is meant: %d %s" % (answer.code, answer.text))
    answer = primary.run("continue", "web1", "--confirm-fenced", daemon.address)
    check(answer.code == 0, "somebody vouches: %d %s" % (answer.code, answer.text))
    check(primary.run("continue", "web1", "--confirm-fenced", daemon.address).code == 0, "again is harmless")
    with open(os.path.join(primary.env["REMUSD_STATE_DIR"], "audit.jsonl")) as audit:
        words = [json.loads(line) for line in audit]
    check(
        [(word["act"], word["outcome"], word["who"]["uid"]) for word in words]
        == [("continue", "taken", os.getuid()), ("continue", "done", os.getuid())],
        "the word is audited, once: %s" % words,
    )
    os.rename(directory + ".away", directory)
    standby.standby(*option, listen=daemon.address)
    primary.protected("web1")
    traffic = Traffic(guest.address, seed)
    traffic.flows()
    traffic.audit()


def arbiter_first_start(rig, seed):
    """Without the arbiter nothing begins; over held output it is not changed."""
    directory, option = shared(rig)
    primary, standby = rig.host("p"), rig.host("s")
    daemon = standby.standby(*option)
    primary.guest("web1")
    shutil.move(directory, directory + ".away")
    refused = primary.protect("web1", daemon.address, *option)
    check(refused.ended() == 75 and "nothing was begun" in refused.output(), "nothing begins: " + refused.output())
    shutil.move(directory + ".away", directory)
    protection = primary.protect("web1", daemon.address, *option)
    primary.protected("web1")
    protection.kill()
    changed = primary.protect("web1", daemon.address)
    check(changed.ended() == 78 and "--arbiter file:" in changed.output(), "it is not changed: " + changed.output())
    primary.protect("web1", daemon.address, *option)
    primary.protected("web1")


def arbiter_differs(rig, seed):
    """A standby with another arbiter refuses, and says why."""
    _, option = shared(rig)
    primary, standby = rig.host("p"), rig.host("s")
    daemon = standby.standby("--arbiter", "manual")
    primary.guest("web1")
    refused = primary.protect("web1", daemon.address, *option)
    check(refused.ended() == 75 and "the same --arbiter" in refused.output(), "it refuses: " + refused.output())


CASES = [
    arbiter_activates, arbiter_grants_alone, arbiter_cut, arbiter_silent, arbiter_first_start, arbiter_differs,
]
