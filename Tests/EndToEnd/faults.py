"""For scripts/e2e. One fault a round, at a random moment, with clients writing all the time."""

import os
import random
import signal
import time

from .relay import Relay
from .rig import Rig, check, until
from .traffic import Filling, Traffic

# How many rounds share a standby, and so see what earlier rounds left behind there.
SHARED = 5


class Round:
    def __init__(self, rig, primary, standby, daemon, number, seed):
        self.rig, self.primary, self.standby, self.daemon = rig, primary, standby, daemon
        self.random = random.Random("%s/%d" % (seed, number))
        self.seed = "%s.%d" % (seed, number)
        self.name = "g%d" % number
        self.relay = None
        self.notes = []

    def play(self, victim):
        """Plays it; gives the number of acknowledged writes."""
        self.alone = "2s" if victim == "standby-and-guardian" else "20s"
        # A third of the blows fall while the initial sync is on its way, or just before or after.
        early = self.random.random() < 0.33
        target = self.daemon.address
        if victim == "link":
            self.relay = Relay(target)
            self.rig.closers.append(self.relay.stop)
            target = self.relay.address
        self.target = target
        self.guest = self.primary.guest(self.name, "128MiB")
        # A sync that takes long enough to be hit.
        self.filling = Filling(self.guest.address, 768 if early else 0)
        self.traffic = Traffic(self.guest.address, self.seed)
        try:
            self.traffic.flows()
            self.protection = self.protect()
            if early:
                time.sleep(self.random.uniform(0, 0.1))
            else:
                self.primary.protected(self.name)
                time.sleep(self.random.uniform(0, 0.6))
            before = self.primary.status(self.name, "primary")
            self.safe = bool(before and before["protected"])
            self.session = before["session"] if before else None
            self.notes.append("protected" if self.safe else "in the sync")
            getattr(self, victim.replace("-", "_"))()
            return self.traffic.acknowledged
        finally:
            self.traffic.abort()

    def protect(self):
        return self.primary.protect(self.name, self.target, "--alone-after", self.alone)

    # ---- What is done in the end.

    def lose_primary(self):
        """Guest and protect die together."""
        for process in (self.guest, self.protection):
            process.signal(signal.SIGKILL)
        for process in (self.guest, self.protection):
            process.popen.wait(10)
        self.take_over()

    def take_over(self):
        answer = self.standby.activate(self.name)
        if answer.code in (12, 14) and not self.safe:
            # It was never protected, and nobody said that it was.
            self.notes.append("no image yet")
            self.traffic.acknowledged = 0
            return
        check(answer.code == 0, "activate ends with 0: %d %s" % (answer.code, answer.text))
        self.traffic.flows()
        self.traffic.acknowledged = self.traffic.audit(answer.json()["address"])
        self.filling.check(answer.json()["address"])
        check(self.standby.run("guest", "stop", self.name).code == 0, "the activated guest can be stopped")

    def protected_again(self):
        status = self.primary.protected(self.name)
        self.traffic.flows()
        self.safe = True
        return status

    def same_session(self):
        status = self.protected_again()
        if self.notes[0] == "protected":
            check(status["session"] == self.session, "the session goes on without a full sync")

    # ---- The victims.

    def primary_processes(self):
        self.lose_primary()

    def only_protect(self):
        self.protection.kill()
        guest = until("the guest to run on", 5, lambda: self.running())
        if self.safe:
            check(guest["plug"] == "closed", "the plug stays shut without an owner: %s" % guest["plug"])
            answers = self.traffic.answers
            time.sleep(0.1)
            # What was on its way to the clients may still arrive at first.
            settled = self.traffic.answers
            time.sleep(self.random.uniform(0.1, 0.4))
            check(self.traffic.answers == settled, "no output without a commit (%d, %d)" % (answers, settled))
        self.protection = self.protect()
        self.protected_again()
        self.lose_primary()

    def running(self):
        guest = self.primary.embedded(self.name)
        return guest if guest and guest["state"] == "running" and not guest["controlled"] else None

    def only_guest(self):
        self.guest.kill()
        code = self.protection.ended()
        check(code in (1, 75), "protect says that the guest crashed: %d" % code)
        if self.safe:
            self.standby.reach(self.name, "standby", "the standby to say crashed", lambda s: s["state"] == "crashed", 10)
            time.sleep(0.3)
            check(self.standby.status(self.name, "standby")["state"] == "crashed", "a crash activates nobody")
            check(self.standby.embedded(self.name) is None, "a crash starts nothing")
        self.take_over()

    def standby_daemon(self):
        self.daemon.kill()
        time.sleep(self.random.uniform(0, 1.5))
        self.restart_standby()
        self.same_session()
        self.lose_primary()

    def restart_standby(self):
        self.daemon = self.standby.standby(listen=self.daemon.address)

    def standby_and_guardian(self):
        os.kill(self.daemon.guardian, signal.SIGKILL)
        self.daemon.kill()
        if self.safe and self.random.random() < 0.5:
            status = self.primary.reach(self.name, "primary", "the guest to go alone", lambda s: s["state"] == "alone", 20)
            check(not status["protected"], "alone is not protected")
            self.traffic.flows()
            self.notes.append("went alone")
        self.restart_standby()
        self.protected_again()
        self.lose_primary()

    def only_guardian(self):
        old = self.daemon.guardian
        os.kill(old, signal.SIGKILL)
        self.daemon.guardian = until("another guardian", 10, lambda: self.guardian_but(old))
        time.sleep(0.1)
        self.standby_daemon()

    def guardian_but(self, old):
        for pid in self.rig.ours():
            try:
                with open("/proc/%d/cmdline" % pid, "rb") as line:
                    words = line.read().split(b"\0")
            except OSError:
                continue
            if len(words) > 1 and words[1] == b"guardian" and pid != old and self.standby.directory.encode() in line_of(words):
                return pid
        return None

    def stopped_protect(self):
        self.pause(self.protection)

    def stopped_standby(self):
        self.pause(self.daemon)

    def stopped_guest(self):
        self.pause(self.guest)

    def pause(self, process):
        process.signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.05, 2.5))
        process.signal(signal.SIGCONT)
        self.same_session()
        self.lose_primary()

    def link(self):
        self.relay.open.clear()
        length = self.random.uniform(0.1, 3)
        time.sleep(length)
        if self.safe and length > 1.5:
            code = self.standby.run("activate", self.name).code
            check(code in (10, 13), "activate is refused while the primary may live: %d" % code)
            check(self.standby.embedded(self.name) is None, "nobody takes over by himself")
            self.notes.append("refused with %d" % code)
        self.relay.open.set()
        self.same_session()
        self.lose_primary()


def line_of(words):
    return b" ".join(words)


VICTIMS = [
    "primary-processes", "only-protect", "only-guest", "standby-daemon", "standby-and-guardian", "only-guardian",
    "stopped-protect", "stopped-standby", "stopped-guest", "link",
]


def rounds(remusd, count, seed, only=None):
    """Plays rounds one after another; yields (name, seconds, failure text or None, note)."""
    rig = None
    order = []
    try:
        for number in range(count):
            tracking = "pagemap" if number // SHARED % 2 == 0 else "compare"
            if not order:
                # Each victim as often as any other, in an order of the seed's.
                order = [each for each in VICTIMS if not only or each == only]
                random.Random("%s:%d" % (seed, number)).shuffle(order)
            victim = order.pop()
            begin = time.monotonic()
            round_ = None
            try:
                if rig is None or number % SHARED == 0:
                    if rig:
                        rig.close()
                    rig = Rig(remusd, tracking)
                    primary, standby = rig.host("p"), rig.host("s")
                    daemon = standby.standby()
                round_ = Round(rig, primary, standby, daemon, number, seed)
                writes = round_.play(victim)
                daemon = round_.daemon
                failure = None
                notes = ", ".join(round_.notes + ["%d writes" % writes])
            except Exception as error:  # Whatever it is, it is this round's.
                failure = "%s: %s\n%s" % (type(error).__name__, error, rig.tails() if rig else "")
                notes = ", ".join(round_.notes) if round_ else ""
                if rig:
                    rig.close()
                rig = None
            yield "round %d %s %s" % (number, victim, tracking), time.monotonic() - begin, failure, notes
    finally:
        if rig:
            rig.close()
