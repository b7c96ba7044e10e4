"""For scripts/e2e. Real remusd processes in a private directory, all of them gone at the end."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time


class Failure(Exception):
    """Something was not as promised."""


def check(condition, what):
    if not condition:
        raise Failure("not so: " + what)


def until(what, seconds, condition, every=0.01):
    """Waits until condition() gives something, and gives that."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Failure("waited %g s in vain for %s" % (seconds, what))
        time.sleep(every)


class Process:
    """One process with its output in a file."""

    def __init__(self, name, command, env, log):
        self.name, self.log = name, log
        with open(log, "ab") as out:
            self.start = out.tell()
            self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)
        self.pid = self.popen.pid
        self.address = None
        self.guardian = None

    @property
    def code(self):
        return self.popen.poll()

    def output(self):
        with open(self.log, "rb") as log:
            log.seek(self.start)
            return log.read().decode("utf-8", "replace")

    def said(self, pattern, seconds=20):
        """Waits for a line that matches, and gives the match."""

        def look():
            match = re.search(pattern, self.output(), re.M)
            if not match and self.code is not None:
                raise Failure("%s ended with %s: %s" % (self.name, self.code, self.output()[-400:]))
            return match

        return until("%s to say %s" % (self.name, pattern), seconds, look)

    def signal(self, number):
        if self.code is None:
            self.popen.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.popen.wait(10)

    def ended(self, seconds=20):
        """Waits for its end by itself; gives its exit code."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure("%s did not end within %g s" % (self.name, seconds))


class Answer:
    """What a command came to."""

    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.text = self.out + self.err

    def json(self):
        return json.loads(self.out)


class Host:
    """One host: its runtime and state directories, and what runs there."""

    def __init__(self, rig, name):
        self.rig, self.name = rig, name
        self.directory = os.path.join(rig.directory, name)
        os.mkdir(self.directory, 0o700)
        self.env = dict(rig.env)
        self.env["REMUSD_RUNTIME_DIR"] = self.directory
        self.env["REMUSD_STATE_DIR"] = os.path.join(self.directory, "state")
        # This machine's own hooks are for real guests.
        self.no_hooks = ["--hooks", os.path.join(self.directory, "no-hooks")]

    def start(self, name, *arguments):
        process = Process(name, [self.rig.remusd, *arguments], self.env, os.path.join(self.directory, name + ".out"))
        self.rig.processes.append(process)
        return process

    def run(self, *arguments, timeout=60):
        """Runs a command to its end."""
        done = subprocess.run(
            [self.rig.remusd, *map(str, arguments)], env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, text=True, errors="replace",
        )
        return Answer(done)

    def asked(self, name, *arguments):
        """Starts a command that will ask something: its standard input and output are pipes."""
        process = subprocess.Popen(
            [self.rig.remusd, *arguments], env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )
        self.rig.closers.append(process.kill)
        return process

    def standby(self, *more, listen="127.0.0.1:0"):
        process = self.start("standby", "standby", "--listen", listen, *self.no_hooks, *more)
        match = process.said(r"^standby ready on (\S+) .*guardian (\d+)\)")
        process.address, process.guardian = match.group(1), int(match.group(2))
        return process

    def guest(self, name, memory="64MiB", listen="127.0.0.1:0"):
        process = self.start("guest-" + name, "guest", "run", name, "--memory", memory, "--listen", listen)
        process.address = process.said(r"^guest \S+ ready on (\S+)").group(1)
        return process

    def protect(self, name, to, *more, interval="25ms"):
        return self.start("protect-" + name, "protect", "embedded:" + name, "--to", to, "--interval", interval, *self.no_hooks, *more)

    def status(self, name, role):
        """The guest as `remusd status` shows it in this role, or None."""
        answer = self.run("status", name, "--output", "json")
        try:
            return next((each for each in answer.json() if each["role"] == role), None)
        except ValueError:
            return None

    def reach(self, name, role, what, condition, seconds=30):
        """Waits for a status; gives it."""
        last = []

        def look():
            status = self.status(name, role)
            last[:] = [status]
            return status if status and condition(status) else None

        try:
            return until(what, seconds, look)
        except Failure as failure:
            status = last[0] or {}
            raise Failure("%s; last seen: %s %s" % (failure, status.get("state"), status.get("reasons")))

    def protected(self, name, seconds=30):
        return self.reach(name, "primary", name + " to be protected", lambda status: status["protected"], seconds)

    def embedded(self, name):
        """The embedded guest itself, or None."""
        guests = self.run("guest", "list", "--output", "json").json()
        return next((guest for guest in guests if guest["name"] == name), None)

    def activate(self, name, *more, seconds=15):
        """Activates as a script does: "alive" and "try again" are tried again."""

        def attempt():
            answer = self.run("activate", name, "--output", "json", *more)
            return None if answer.code in (10, 75) else answer

        return until("'remusd activate %s' to be decided" % name, seconds, attempt)


class Rig:
    """A private directory with hosts in it."""

    def __init__(self, remusd, tracking="auto"):
        self.remusd = remusd
        self.directory = tempfile.mkdtemp(prefix="e2e-", dir="/tmp")
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("REMUSD_")}
        self.env["REMUSD_DIRTY_TRACKING"] = tracking
        self.processes = []
        self.closers = []

    def host(self, name):
        return Host(self, name)

    def tails(self, lines=12):
        text = []
        for folder, _, files in sorted(os.walk(self.directory)):
            for file in sorted(files):
                if file.endswith((".out", ".log")):
                    with open(os.path.join(folder, file), "rb") as log:
                        tail = log.read().decode("utf-8", "replace").splitlines()[-lines:]
                    text += ["--- " + os.path.relpath(os.path.join(folder, file), self.directory)] + ["    " + l for l in tail]
        return "\n".join(text)

    def ours(self):
        """Every living process that was told of this private directory: guardians and activated guests are nobody's child."""
        needle = ("REMUSD_RUNTIME_DIR=" + self.directory + "/").encode()
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open("/proc/%s/environ" % entry, "rb") as environ:
                    if any(part.startswith(needle) for part in environ.read().split(b"\0")):
                        found.append(int(entry))
            except OSError:
                pass
        return found

    def close(self):
        for closer in self.closers:
            closer()
        for _ in range(200):
            for pid in self.ours():
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            for process in self.processes:
                process.popen.poll()
            if not self.ours():
                break
            time.sleep(0.01)
        for process in self.processes:
            process.popen.wait(5)
        shutil.rmtree(self.directory, ignore_errors=True)


def later(seconds, action):
    """Does something in a while, on a thread of its own; to be joined."""
    thread = threading.Timer(seconds, action)
    thread.daemon = True
    thread.start()
    return thread
