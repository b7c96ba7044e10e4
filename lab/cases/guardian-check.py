"""Kills `remusd protect` of a guest again and again, most times around a suspend, and sees that its guardian lets the guest run
within a second and that protection comes back. Run in the host, with protection begun; it ends with an error at what is wrong.

Usage: guardian-check.py GUEST ROUNDS SEED
"""

import json
import os
import random
import signal
import subprocess
import sys
import time

PATIENCE = 300


def shell(command):
    return subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def protect_pid():
    for name in os.listdir("/proc"):
        try:
            with open("/proc/%s/cmdline" % name) as file:
                if file.read().split("\0")[1:2] == ["protect"]:
                    return int(name)
        except OSError:
            pass
    return None


def state(guest):
    try:
        entries = json.loads(shell("remusd status %s --output json" % guest))
        return next(each["state"] for each in entries if each["role"] == "primary")
    except (ValueError, StopIteration):
        return None


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "not within %d s: %s" % (PATIENCE, what)
        time.sleep(0.5)


def repairs(guest):
    """The guardian's lines about what it found, oldest first."""
    with open("/run/remusd/guardian-%s.log" % guest) as file:
        return [line.split("at_death=")[1].split()[0] for line in file if "at_death=" in line]


def kill_at_random(dice):
    pid = protect_pid()
    time.sleep(dice.uniform(0, 20))
    os.kill(pid, signal.SIGKILL)


def kill_at_suspend(domain, dice):
    pid = protect_pid()
    watch = subprocess.Popen(
        ["xenstore-watch", "/local/domain/%s/control/shutdown" % domain], stdout=subprocess.PIPE
    )
    watch.stdout.readline()  # One comes at once.
    watch.stdout.readline()
    time.sleep(dice.choice([0, 0, 0.002, 0.005, 0.01, 0.02, 0.03]))
    os.kill(pid, signal.SIGKILL)
    watch.kill()
    watch.wait()


def main(guest, rounds, seed):
    dice = random.Random(seed)
    domain = shell("xl domid " + guest).strip()
    for number in range(rounds):
        wait_for(lambda: state(guest) is not None and protect_pid(), "protect is there")
        before = len(repairs(guest))
        if number % 3 == 0:
            kill_at_random(dice)
        else:
            wait_for(lambda: state(guest) == "protected", "the guest is protected")
            kill_at_suspend(domain, dice)
        time.sleep(1)
        shown = shell("xl list " + domain).strip().split("\n")[-1].split()[4]
        assert "s" not in shown and "d" not in shown, "a second later the guest is %s" % shown
        wait_for(lambda: len(repairs(guest)) > before, "the guardian has a line about it")
        print("%d: %s at its death, %s a second later" % (number + 1, repairs(guest)[-1], shown), flush=True)
    wait_for(lambda: state(guest) == "protected", "the guest is protected")
    found = repairs(guest)
    inside = sum(each in ("suspended", "suspend-pending") for each in found)
    print("%d deaths, %d with the guest suspended or about to be" % (len(found), inside))
    assert inside * 3 >= len(found), "too few to count"


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
