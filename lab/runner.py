"""Runs the lab's cases, one line each; `scripts/xenlab test`."""

import datetime
import fnmatch
import os
import shutil
import signal
import time
import traceback

import packages
from failure import UsageError
from kit import Kit, Skip
from laboratory import Lab

# A whole run ends in this time; what has not been run by then is named and counted as skipped, and the run has failed.
# CI's set is made for a quarter of an hour on a quiet machine; some machines are three times slower.
CI_SECONDS, ALL_SECONDS = 60 * 60, 4 * 3600
TIDY_SECONDS = 180
CASES = []


class Case:
    def __init__(self, name, action, ci, seconds):
        self.name, self.action, self.ci, self.seconds = name, action, ci, seconds


class OutOfTime(Exception):
    pass


def case(name, ci=True, seconds=180):
    """Registers a function as a case. It gets a Kit; it has passed when it returns. `ci`: part of `xenlab test` without
    --all; `seconds`: how long it may take on a slow machine."""

    def register(action):
        CASES.append(Case(name, action, ci, seconds))
        return action

    return register


def parse(words):
    options = {"--all": False, "--list": False, "--keep": False}
    patterns, first = [], None
    while words:
        word = words.pop(0)
        if word in options:
            options[word] = True
        elif word == "--case" and words:
            patterns.append(words.pop(0))
        elif word == "--from" and words:
            first = words.pop(0)
        else:
            raise UsageError("test takes --all, --case PATTERN, --from CASE, --list and --keep, not %s" % word)
    return options, patterns, first


def choose(options, patterns, first):
    """The cases to be run. A run of all takes hours: one that was ended goes on from its last case with `first`."""
    chosen = [each for each in CASES if each.ci or options["--all"]]
    if patterns:
        chosen = [each for each in CASES if any(fnmatch.fnmatch(each.name, "*%s*" % p.strip("*")) for p in patterns)]
    if not chosen:
        raise UsageError("no case is like %s; test --list --all names them" % ", ".join(patterns))
    names = [each.name for each in chosen]
    if first is not None and first not in names:
        raise UsageError("no case %s is among those to be run; test --list names them" % first)
    return chosen[names.index(first) :] if first else chosen


def main(words):
    import cases  # noqa: F401  Registers them all.

    options, patterns, first = parse(list(words))
    chosen = choose(options, patterns, first)
    if options["--list"]:
        for each in chosen:
            print(each.name)
        return 0
    import verbs

    packages.need_packages()
    lab, program, begin = Lab(), verbs.program(), time.monotonic()
    ours = not lab.is_up()
    if ours:
        lab.up(program)
        print("up     %6.1f s  alpha and beta" % (time.monotonic() - begin), flush=True)
    else:
        lab.put(program)
    run = Run(lab, begin, CI_SECONDS if not (options["--all"] or patterns) else ALL_SECONDS)
    try:
        for each in chosen:
            run.one(each)
    finally:
        if ours and not options["--keep"]:
            lab.down()
    return run.finish()


class Run:
    def __init__(self, lab, begin, limit):
        self.lab, self.begin, self.limit = lab, begin, limit
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.late = False
        base = os.environ.get("TMPDIR") or "/tmp"
        self.logs = os.path.join(base, "remusd-lab-logs.%d" % os.getpid())
        os.makedirs(self.logs)

    def one(self, each):
        start = time.monotonic()
        if self.left() <= 0:
            self.late = True
            self.report("skipped", each, 0, "not run: the run's time is over")
            return
        with open(os.path.join(self.logs, each.name + ".log"), "w") as out:

            def log(text):
                out.write("%s %s\n" % (datetime.datetime.now().strftime("%H:%M:%S.%f")[:-3], text))
                out.flush()

            outcome, reason = self.carry_out(each, Kit(self.lab, log), log)
        self.report(outcome, each, time.monotonic() - start, reason)

    def left(self):
        return self.limit - (time.monotonic() - self.begin)

    def carry_out(self, each, kit, log):
        """Runs the case and tidies up; its outcome and the reason for it."""
        try:
            bounded(max(30, min(each.seconds, int(self.left()))), lambda: each.action(kit))
            outcome, reason = "passed", ""
        except Skip as error:
            outcome, reason = "skipped", str(error)
        except Exception as error:  # Whatever it is, the other cases are run.
            outcome, reason = "failed", str(error) or "%s in %s" % (type(error).__name__, place(error))
            log("FAILED: " + traceback.format_exc())
        for action in ([kit.evidence] if outcome == "failed" else []) + [lambda: kit.tidy(guests=outcome == "failed")]:
            try:
                bounded(TIDY_SECONDS, action)
            except Exception as error:
                log("while tidying up: %s" % error)
                outcome, reason = "failed", reason or "cannot tidy up: %s" % error
        return outcome, reason

    def report(self, outcome, each, seconds, reason):
        self.counts[outcome] += 1
        print("%-7s %6.1f s  %s%s" % (outcome, seconds, each.name, ": " + reason if reason else ""), flush=True)

    def finish(self):
        good = self.counts["failed"] == 0 and not self.late
        if good:
            shutil.rmtree(self.logs)
        else:
            print("logs of each case: %s" % self.logs)
        print("all    %6.1f s" % (time.monotonic() - self.begin))
        print("%(passed)d passed, %(failed)d failed, %(skipped)d skipped" % self.counts)
        return 0 if good else 1


def place(error):
    """Where in the lab's own code something was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return "%s:%d" % (os.path.basename(frames[-1].filename), frames[-1].lineno)


def bounded(seconds, action):
    """Runs something, and ends it with OutOfTime when it takes longer."""

    def late(number, frame):
        raise OutOfTime("not done within %d s" % seconds)

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        action()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
