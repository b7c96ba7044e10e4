"""What a case works with: hosts, guests, clients, remusd on both sides, faults; and tidying up between cases."""

import json
import shlex
import time

import plan
from arbiter import Etcd
from clients import RedisClient, SequenceClient
from failure import LabError
from guests import Running
from watcher import Watcher

STANDBY_PORT = 7070
LOGS = "/var/log/remusd"
# An emulated host on a busy machine is an order of magnitude slower than a real one: so are the deadlines.
PATIENCE = "--interval 200ms --max-pause 5s --max-hold 10s --suspend-timeout 20s --alone-after 60s".split()


class Skip(Exception):
    """A case that cannot be run here says why."""


def _link(options):
    """Plaintext, unless `--tls` is among the options: that wants paired hosts (cases/tls.py)."""
    return [] if "--tls" in options else ["--insecure-plaintext"]


class Kit:
    def __init__(self, lab, log):
        self.lab, self.log = lab, log
        self.alpha, self.beta = lab.alpha, lab.beta
        self.clients = []
        self.watchers = []
        self.background = []  # (host, its power-on, pid): after a loss of power another process has the number.
        self.disturbed = False
        self.etcd = None
        for host in lab.hosts.values():
            host.trace = log

    def say(self, text):
        self.log("# " + text)

    # --- guests

    def guest(self, name, host=None):
        """A guest that runs and answers on a host (alpha if not said), and nowhere else; made if need be."""
        host = host or self.alpha
        guest = Running(self.lab, name)
        for other in self.lab.hosts.values():
            if other is not host and other.state() == "on" and guest.state(other):
                guest.destroy(other)
        if not guest.state(host):
            guest.create(host)
        guest.wait()
        return guest

    def redis(self, guest):
        return self._begin(RedisClient(self.lab, guest))

    def sequence(self, guest):
        return self._begin(SequenceClient(self.lab, guest))

    def watch(self, guest):
        """Watches all that the guest sends from now on, whichever host it runs on."""
        watcher = Watcher(self.lab, guest)
        self.watchers.append(watcher)
        watcher.start()
        return watcher

    def _begin(self, client):
        self.clients.append(client)
        client.start()
        return client

    # --- remusd

    def start(self, host, name, command):
        """Starts a command that stays, its output in /var/log/remusd/NAME.log of the host; its pid."""
        line = command if isinstance(command, str) else " ".join(shlex.quote(word) for word in command)
        script = "mkdir -p %s; setsid sh -c %s </dev/null >>%s/%s.log 2>&1 & echo $!"
        pid = int(host.run(script % (LOGS, shlex.quote("exec " + line), LOGS, name)).stdout)
        self.background.append((host, host.record.pid(), pid))
        return pid

    def standby(self, host, *options):
        """`remusd standby` on a host, listening on the replication link."""
        address = "%s:%d" % (plan.REPLICATION_ADDRESS[host.name], STANDBY_PORT)
        command = ["remusd", "standby", "--listen", address] + _link(options) + list(options)

        def starts():
            """How often one has become ready; the log is there of those before this one."""
            return int(host.run("cat %s/standby.log 2>/dev/null | grep -c 'standby ready'" % LOGS, check=False).stdout)

        before = starts()
        pid = self.start(host, "standby", command)
        self.lab.wait_for(lambda: starts() > before, 30, "remusd standby is ready on %s" % host.name)
        return pid

    def protect(self, guest, primary, standby, *options):
        """`remusd protect` on the primary, as a process that stays; `guest` is what remusd takes for one."""
        name = guest.rpartition(":")[2]
        return self.start(primary, "protect-" + name, self._protect(guest, standby, options))

    def protect_ends(self, guest, primary, standby, *options):
        """The same, where it is to end by itself; its exit code, and what it said."""
        line = " ".join(shlex.quote(word) for word in self._protect(guest, standby, options))
        # What it leaves running must not keep this command from ending.
        line += " </dev/null >/tmp/protect.log 2>&1; code=$?; cat /tmp/protect.log; exit $code"
        return primary.run(line, check=False, timeout=120)

    def _protect(self, guest, standby, options):
        to = "%s:%d" % (plan.REPLICATION_ADDRESS[standby.name], STANDBY_PORT)
        self.disturbed = self.disturbed or guest in plan.GUESTS
        return ["remusd", "protect", guest, "--to", to] + _link(options) + PATIENCE + list(options)

    def wait_protected(self, name, primary, seconds=120):
        primary.run(["remusd", "wait", name, "--for", "protected", "--timeout", "%ds" % seconds], timeout=seconds + 30)

    def wait_peer_lost(self, name, standby, seconds=60):
        """Until the standby has noticed that the primary is silent; before that, activation refuses."""
        line = ["remusd", "wait", name, "--for", "peer-lost", "--timeout", "%ds" % seconds]
        standby.run(line, timeout=seconds + 30)

    def status(self, name, host, role):
        """What `remusd status` says of a guest in one of its roles, "primary" or "standby"."""
        text = host.run(["remusd", "status", name, "--output", "json"]).stdout
        for entry in json.loads(text):
            if entry["role"] == role:
                return entry
        raise LabError("%s: remusd on %s knows no %s of it" % (name, host.name, role))

    def activate(self, name, standby, *options):
        """Activates the standby's image; seconds until it ran."""
        begin = time.monotonic()
        standby.run(["remusd", "activate", name] + list(options), timeout=180)
        return time.monotonic() - begin

    def arbiter(self):
        """A fresh etcd, which both hosts reach as long as the guests' link is there."""
        self.etcd = Etcd(self.lab.directory, self.lab.links)
        self.etcd.start()
        return self.etcd

    # --- in between

    def tidy(self, guests=False):
        """After a case: no client, no remusd, no fault. The guests stay, unless `guests` says otherwise or remusd, which
        ends here without a chance to put anything right, had one of them in hand."""
        for client in self.clients:
            client.close()
        self.clients.clear()
        for watcher in self.watchers:
            watcher.close()
        self.watchers.clear()
        if self.etcd:
            self.etcd.forget()
            self.etcd = None
        self.lab.links.heal()
        for host in self.lab.hosts.values():
            if host.state() == "hung":
                host.unhang()
            if host.state() == "off":
                self.lab.power_on(host)
        for host in self.lab.hosts.values():
            now = (host, host.record.pid())
            pids = " ".join(str(pid) for *where, pid in self.background if tuple(where) == now)
            wipe = "kill -9 %s; " % pids if pids else ""
            # Together, and again: a guardian that is left brings its protect back.
            wipe += "for i in 1 2 3 4 5; do p=$(pgrep -x remusd) || break; kill -9 $p; done; "
            wipe += "rm -rf %s /run/remusd /var/lib/remusd/*; " % LOGS
            if guests or self.disturbed:
                wipe += "for d in $(xl list | awk 'NR > 2 { print $2 }'); do xl destroy $d; done; "
                wipe += "for i in $(ip -br link show type ifb | awk '{ print $1 }'); do ip link del $i; done; "
            host.run(wipe + "true")
        self.background.clear()

    def evidence(self):
        """After a failure: what the hosts have to say, into the case's log."""
        for host in self.lab.hosts.values():
            if host.state() == "on":
                host.run(
                    "xl list; tail -n 40 %s/*.log /run/remusd/*.log; for f in /var/log/xen/console/*.log; do echo \"== $f\"; tail -n 20 $f; done; "
                    "echo == dmesg; dmesg | tail -n 25; xl dmesg | tail -n 15; remusd status; ip -br link" % LOGS,
                    check=False,
                )
            else:
                self.say("%s is %s" % (host.name, host.state()))
        for name in plan.GUESTS:
            guest = Running(self.lab, name)
            if any(host.state() == "on" and guest.state(host) for host in self.lab.hosts.values()):
                self.say("%s itself says:" % name)
                try:
                    self.log(guest.shell("ps; free; netstat -tn; dmesg | grep -v -i -E 'freez|restarting|suspending|grant_table|OOM killer (dis|en)abled' | tail -n 25", timeout=40))
                except (OSError, LabError) as error:
                    self.say("nothing: %s" % error)
