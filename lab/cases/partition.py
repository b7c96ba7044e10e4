"""What one host cannot know of the other: a cut link, a host that hangs and wakes up. At most one copy of the guest is seen,
without an arbiter (docs/promises.md, R1)."""

from runner import case

# Long enough for an emulated host to answer, short enough to wait for.
ALONE_AFTER = ["--alone-after", "30s"]


def protected(kit, name):
    """A guest on alpha, protected at beta, watched, with a client that must go on."""
    guest = kit.guest(name)
    kit.standby(kit.beta)
    kit.protect(name, kit.alpha, kit.beta, *ALONE_AFTER)
    kit.wait_protected(name, kit.alpha)
    watcher, client = kit.watch(guest), kit.redis(guest)
    client.wait_told(5, seconds=120)
    watcher.wait_seen(5)
    return guest, watcher, client


def wait(kit, name, state, seconds=120):
    """Until the primary, on alpha, says so."""
    line = ["remusd", "wait", name, "--for", state, "--timeout", "%ds" % seconds]
    kit.alpha.run(line, timeout=seconds + 30)


def refuses(host, name, code, *words):
    result = host.run(["remusd", "activate", name] + list(words), check=False, timeout=120)
    assert result.returncode == code, "activate %s: %d, not %d: %s" % (words, result.returncode, code, result.stdout)


def goes_on(guest, watcher, client):
    """The guest is seen, in one history, its connection goes on, and its memory is whole."""
    watcher.wait_seen(8)
    client.wait_told(8, seconds=180)
    guest.memory()


def the_link_is_cut(kit, name, cut):
    guest, watcher, client = protected(kit, name)
    before = kit.status(name, kit.alpha, "primary")["generation"]
    cut()
    kit.wait_peer_lost(name, kit.beta)
    refuses(kit.beta, name, 13)
    wait(kit, name, "alone")
    goes_on(guest, watcher, client)
    # Its image is older than what was seen by now: even who vouches is told so.
    refuses(kit.beta, name, 16, "--confirm-fenced", "alpha")
    kit.lab.links.heal()
    kit.wait_protected(name, kit.alpha, seconds=240)
    after = kit.status(name, kit.alpha, "primary")["generation"]
    assert after > before, "generation %d after %d, and the guest ran alone in between" % (after, before)
    goes_on(guest, watcher, client)
    client.stop()
    kit.say("seen in one history: %s" % watcher.stop())
    assert not guest.state(kit.beta), kit.beta.run("xl list").stdout


@case("partition-both-ways", ci=False, seconds=600)
def the_link_is_cut_both_ways(kit):
    the_link_is_cut(kit, "pv1", kit.lab.links.cut)


@case("partition-from-alpha", ci=False, seconds=600)
def nothing_from_the_primary_arrives(kit):
    the_link_is_cut(kit, "pv1", lambda: kit.lab.links.cut(one_way="alpha"))


@case("partition-from-beta", ci=False, seconds=600)
def nothing_from_the_standby_arrives(kit):
    the_link_is_cut(kit, "pv1", lambda: kit.lab.links.cut(one_way="beta"))


@case("hung-primary", ci=False, seconds=600)
def a_primary_that_wakes_up_is_outdated(kit):
    """The guest is activated while its host hangs; the copy that wakes up is heard by nobody, and knows it soon."""
    guest, watcher, client = protected(kit, "pv1")
    kit.alpha.hang()
    kit.wait_peer_lost("pv1", kit.beta)
    kit.activate("pv1", kit.beta, "--confirm-fenced", "alpha")
    goes_on(guest, watcher, client)
    kit.alpha.unhang()
    wait(kit, "pv1", "outdated")
    goes_on(guest, watcher, client)
    assert guest.state(kit.alpha) and guest.state(kit.beta), "both copies are there, and one is heard"
    client.stop()
    kit.say("seen in one history: %s" % watcher.stop())


@case("hung-standby", ci=False, seconds=600)
def a_standby_that_wakes_up_takes_the_guest_again(kit):
    guest, watcher, client = protected(kit, "pv1")
    kit.beta.hang()
    wait(kit, "pv1", "alone")
    goes_on(guest, watcher, client)
    kit.beta.unhang()
    kit.wait_protected("pv1", kit.alpha, seconds=240)
    goes_on(guest, watcher, client)
    client.stop()
    kit.say("seen in one history: %s" % watcher.stop())


@case("slow-link", ci=False, seconds=600)
def a_slow_link_holds_output_and_loses_nothing(kit):
    guest, watcher, client = protected(kit, "pv1")
    kit.lab.links.slow(4)
    client.wait_told(3, seconds=240)
    kit.lab.links.heal()
    kit.wait_protected("pv1", kit.alpha, seconds=240)
    goes_on(guest, watcher, client)
    client.stop()
    kit.say("seen in one history: %s" % watcher.stop())
