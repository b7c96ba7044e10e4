"""An arbiter that both hosts reach over the guests' link: a real etcd, in the client's place. Cutting the replication link does
not cut it off; it can be stopped, and come back with all that it knew."""

import os
import shutil
import signal
import time
import urllib.request

import plan
from failure import LabError
from processes import Record

PORT, PEER_PORT = 2379, 2380


class Etcd:
    def __init__(self, directory, links):
        self.directory, self.links = directory, links
        self.record = Record(os.path.join(directory, "etcd.pid"))
        self.address = "http://%s:%d" % (plan.BRIDGE_ADDRESS[plan.CLIENT], PORT)

    @property
    def name(self):
        """As `--arbiter` takes it."""
        return "etcd:" + self.address

    def start(self):
        """Starts it, with what it knew before; ready when this returns."""
        peer = "http://%s:%d" % (plan.BRIDGE_ADDRESS[plan.CLIENT], PEER_PORT)
        command = ["etcd", "--name", "lab", "--data-dir", os.path.join(self.directory, "etcd")]
        command += ["--listen-client-urls", self.address, "--advertise-client-urls", self.address]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "lab=" + peer]
        with self.links.client():
            self.record.start(command, os.path.join(self.directory, "etcd.log"))
        until = time.monotonic() + 30
        while not self.answers():
            if time.monotonic() > until:
                raise LabError("etcd does not answer at %s" % self.address)
            time.sleep(0.1)

    def answers(self):
        with self.links.client():
            try:
                with urllib.request.urlopen(self.address + "/health", timeout=2) as reply:
                    return b"true" in reply.read()
            except OSError:
                return False

    def pause(self):
        """It takes connections and says nothing, as one does whose disk hangs."""
        self.record.send(signal.SIGSTOP)

    def resume(self):
        self.record.send(signal.SIGCONT)

    def stop(self):
        self.record.kill()

    def forget(self):
        """Ends it, and all that it knew."""
        self.stop()
        shutil.rmtree(os.path.join(self.directory, "etcd"), ignore_errors=True)
