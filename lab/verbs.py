"""The verbs of scripts/xenlab, one function each."""

import os
import subprocess
import sys
import time

import packages
import plan
from failure import LabError, UsageError
from guests import Running, find
from laboratory import Lab


def carry_out(verb, words):
    if verb not in VERBS:
        raise UsageError("unknown verb %s" % verb)
    return VERBS[verb](words)


def program():
    """The remusd to put into the hosts: named by REMUSD_BIN, or freshly built; None when the lab shall go without."""
    named = os.environ.get("REMUSD_BIN")
    if named == "none":
        return None
    if named:
        if not os.access(named, os.X_OK):
            raise LabError("REMUSD_BIN names %s, which is no program" % named)
        return named
    build = 'source "$0/scripts/lib.sh" && need_swift && build_release'
    result = subprocess.run(["bash", "-c", build, plan.ROOT], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    if result.returncode != 0:
        raise LabError("remusd could not be built")
    return result.stdout.decode().strip().splitlines()[-1]


def only(words, count, what):
    """The words of a verb, when there are as many as it takes."""
    if len(words) != count:
        raise UsageError("give %s" % what)
    return words


def running():
    lab = Lab()
    lab.need_up()
    return lab


def up(words):
    only(words, 0, "no argument to up")
    begin = time.monotonic()
    packages.need_packages()
    lab = Lab()
    lab.up(program())
    print("lab in %s: alpha and beta are up after %.0f s" % (lab.directory, time.monotonic() - begin))


def down(words):
    only(words, 0, "no argument to down")
    running().down()


def ssh(words):
    if not words:
        raise UsageError("give a host")
    host = running().host(words[0])
    if host.state() != "on":
        raise LabError("%s is %s" % (host.name, host.state()))
    line = [". /root/.profile; " + " ".join(words[1:])] if words[1:] else []
    os.execvp("ssh", host.ssh(line, terminal=not line and sys.stdin.isatty()))


def put(words):
    only(words, 0, "no argument to put")
    running().put(program())


def status(words):
    only(words, 0, "no argument to status")
    lab = running()
    print("lab in %s" % lab.directory)
    for host in lab.hosts.values():
        print("host %-12s %s" % (host.name, host.state()))
    for link in plan.LINKS:
        seen = lab.links.ask(link)
        silent = "cut for what %s sends" % " and ".join(seen["cut"]) if seen["cut"] else "open"
        rate = ", %.3g Mbit/s" % (seen["slow"] / 1e6) if seen["slow"] else ""
        print("link %-12s %s%s" % (link, silent, rate))
    for host in lab.hosts.values():
        if host.state() == "on":
            for line in host.run("xl list").stdout.splitlines()[2:]:
                print("guest on %-8s %s" % (host.name, line))


def guest(words):
    usage = UsageError("give create HOST NAME, list, ask NAME, or shell NAME COMMAND")
    if not words:
        raise usage
    verb, words = words[0], words[1:]
    if verb == "list" and not words:
        for each in plan.GUESTS.values():
            print("%-6s %-4s %d vcpus, %d MiB, %s" % (each.name, each.kind, each.vcpus, each.memory_mib, each.address))
    elif verb == "create" and len(words) == 2:
        lab = running()
        which = Running(lab, words[1])
        which.create(lab.host(words[0]))
        which.wait()
    elif verb == "ask" and len(words) == 1:
        find(words[0])
        print(Running(running(), words[0]).ask(plan.CHECKER_PORT).strip())
    elif verb == "shell" and len(words) >= 2:
        find(words[0])
        sys.stdout.write(Running(running(), words[0]).shell(" ".join(words[1:])))
    else:
        raise usage


def power_off(words):
    lab = running()
    lab.host(*only(words, 1, "a host")).power_off()


def power_on(words):
    lab = running()
    lab.power_on(lab.host(*only(words, 1, "a host")))


def hang(words):
    running().host(*only(words, 1, "a host")).hang()


def unhang(words):
    running().host(*only(words, 1, "a host")).unhang()


def cut(words):
    lab = running()
    if words[:1] == ["--one-way"]:
        lab.links.cut(one_way=lab.host(*only(words[1:], 1, "a host after --one-way")).name)
    else:
        lab.links.cut(*only(words or [plan.REPLICATION], 1, "one link"))


def slow(words):
    try:
        rate = float(*only(words, 1, "megabits a second"))
    except ValueError:
        rate = 0
    if rate <= 0:
        raise UsageError("megabits a second is a number above 0, not %s" % words[0])
    running().links.slow(rate)


def heal(words):
    only(words, 0, "no argument to heal")
    running().links.heal()


def test(words):
    import runner

    return runner.main(words)


def demo(words):
    import demonstration

    return demonstration.main(words)


def bench(words):
    import bench as benchmark

    return benchmark.main(words)


VERBS = {
    "up": up, "down": down, "ssh": ssh, "put": put, "status": status, "guest": guest, "power-off": power_off,
    "power-on": power_on, "hang": hang, "unhang": unhang, "cut": cut, "slow": slow, "heal": heal, "test": test,
    "demo": demo, "bench": bench,
}
