"""Orders to the switch: cut, slow down, heal a link; and the client's place on the guests' link."""

import contextlib
import ctypes
import json
import os
import socket
import sys
import time

import plan
from failure import LabError
from processes import Record

CLONE_NEWNET = 0x40000000  # sched.h


class Links:
    def __init__(self, directory):
        self.directory = directory
        self.record = Record(os.path.join(directory, "switch.pid"))

    def start(self):
        command = [sys.executable, "-B", os.path.join(plan.HERE, "switch.py"), self.directory]
        log = os.path.join(self.directory, "switch.log")
        child = self.record.start(command, log)
        until = time.monotonic() + 20
        while not os.path.exists(os.path.join(self.directory, "switch.control")):
            if child.poll() is not None or time.monotonic() > until:
                with open(log) as handle:
                    raise LabError("the switch did not start: " + handle.read().strip()[-500:])
            time.sleep(0.02)

    def ask(self, link, **wish):
        if link not in plan.LINKS:
            raise LabError("no link %s: there are %s" % (link, ", ".join(plan.LINKS)))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as ours:
            ours.settimeout(10)
            try:
                ours.connect(os.path.join(self.directory, "switch.control"))
                ours.send(json.dumps(dict(wish, link=link)).encode())
                reply = json.loads(ours.recv(65536))
            except OSError as error:
                raise LabError("the switch does not answer: %s; is the lab up?" % error)
        if "error" in reply:
            raise LabError("the switch refuses: " + reply["error"])
        return reply

    def cut(self, link=plan.REPLICATION, one_way=None):
        """Nothing passes any more; with `one_way`, only what that host sends is lost."""
        self.ask(link, cut=[one_way] if one_way else list(plan.HOST_NAMES))

    def slow(self, megabits, link=plan.REPLICATION):
        self.ask(link, slow=int(megabits * 1e6))

    def heal(self, link=None):
        for each in [link] if link else plan.LINKS:
            self.ask(each, cut=[], slow=None)

    @contextlib.contextmanager
    def client(self):
        """Within it, a socket that this thread makes is on the guests' link (setns(2); it stays there for its life)."""
        pid = self.record.pid()
        if pid is None:
            raise LabError("the lab's switch does not run")
        setns = ctypes.CDLL(None, use_errno=True).setns
        with open("/proc/thread-self/ns/net") as home, open("/proc/%d/ns/net" % pid) as there:
            if setns(there.fileno(), CLONE_NEWNET) != 0:
                raise LabError("cannot reach the guests' network: %s" % os.strerror(ctypes.get_errno()))
            try:
                yield
            finally:
                if setns(home.fileno(), CLONE_NEWNET) != 0:
                    raise LabError("cannot leave the guests' network: %s" % os.strerror(ctypes.get_errno()))

    def connect(self, address, port, timeout=10):
        """A TCP connection from the client's place."""
        with self.client():
            return socket.create_connection((address, port), timeout)
