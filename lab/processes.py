"""The lab's processes: started away from the terminal, recorded in a file, ended for sure, never confused with others."""

import json
import os
import signal
import subprocess
import time


def start_time(pid):
    """When a process started, in ticks since the machine did; None when there is no such process or it has ended.
    (proc(5), /proc/pid/stat: field 22, and Z in field 3; the name in field 2 may hold anything.)"""
    try:
        with open("/proc/%d/stat" % pid) as handle:
            fields = handle.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


class Record:
    """A process named in a file, so that another run of the lab finds it: its pid and its start time."""

    def __init__(self, path):
        self.path = path

    def start(self, command, log):
        """Starts a command in a session of its own, its output going to the end of a file."""
        with open(log, "ab") as out:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd="/"
            )
        with open(self.path + ".new", "w") as handle:
            json.dump({"pid": child.pid, "started": start_time(child.pid)}, handle)
        os.rename(self.path + ".new", self.path)
        return child

    def pid(self):
        """The process's id while it runs, else None."""
        try:
            with open(self.path) as handle:
                known = json.load(handle)
        except (OSError, ValueError):
            return None
        alive = known["started"] is not None and start_time(known["pid"]) == known["started"]
        return known["pid"] if alive else None

    def send(self, number):
        """Sends a signal; whether there was a process to send it to."""
        pid = self.pid()
        if pid is None:
            return False
        os.kill(pid, number)
        return True

    def kill(self):
        """Ends it with SIGKILL and waits until it is gone: a power loss, for a host."""
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            until = time.monotonic() + 10
            while self.pid() is not None and time.monotonic() < until:
                _reap(pid)
                time.sleep(0.01)
            _reap(pid)
        if os.path.exists(self.path):
            os.unlink(self.path)


def _reap(pid):
    """Takes in a child of this very process; another run's child is its parent's."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
