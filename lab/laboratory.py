"""A whole lab: two hosts, the links between them, the files they need; in a directory that tells one lab from another."""

import concurrent.futures
import contextlib
import os
import shutil
import subprocess
import sys
import time

import image
import plan
from failure import LabError
from guests import template
from hosts import Host
from links import Links
from processes import Record

LONGEST_PATH = 80  # A unix socket's name may have 107 bytes (unix(7)), and ours end in "/beta-replication.vm" and the like.


class Lab:
    def __init__(self, directory=None):
        base = os.environ.get("XDG_RUNTIME_DIR") or "/tmp"
        directory = directory or os.environ.get("REMUSD_LAB_DIR") or os.path.join(base, "remusd-lab")
        self.directory = os.path.abspath(directory)
        if len(self.directory) > LONGEST_PATH:
            raise LabError("the path %s is too long for sockets; set REMUSD_LAB_DIR" % self.directory)
        self.links = Links(self.directory)
        self.hosts = {name: Host(self.directory, name) for name in plan.HOST_NAMES}
        self.alpha, self.beta = (self.hosts[name] for name in plan.HOST_NAMES)

    def host(self, name):
        if name not in self.hosts:
            raise LabError("no host %s: there are %s" % (name, ", ".join(plan.HOST_NAMES)))
        return self.hosts[name]

    def is_up(self):
        return os.path.exists(os.path.join(self.directory, "image"))

    def need_up(self):
        if not self.is_up():
            raise LabError("there is no lab in %s; scripts/xenlab up makes one" % self.directory)

    @contextlib.contextmanager
    def running(self, program):
        """Within it the lab is up, with this remusd; one that was up before stays so."""
        ours = not self.is_up()
        if ours:
            self.up(program)
        else:
            self.put(program)
        try:
            yield self
        finally:
            if ours:
                self.down()

    def image(self):
        with open(os.path.join(self.directory, "image")) as handle:
            return handle.read().strip()

    def up(self, program):
        """Boots both hosts from copies of the image, with remusd in them. On any failure, nothing stays."""
        if self.is_up():
            raise LabError("the lab in %s is up already; xenlab down ends it, REMUSD_LAB_DIR makes another" % self.directory)
        source = image.cached_image()
        os.makedirs(self.directory, exist_ok=True)
        if os.listdir(self.directory):
            raise LabError("%s is not empty and no lab: choose another directory" % self.directory)
        try:
            with open(os.path.join(self.directory, "image"), "w") as out:
                out.write(source + "\n")
            key = os.path.join(self.directory, "ssh_key")
            shutil.copyfile(os.path.join(source, "ssh_key"), key)
            os.chmod(key, 0o600)
            self.links.start()
            for host in self.hosts.values():
                host.prepare(source)
                self.furnish(host, program)
            for host in self.hosts.values():
                host.power_on(source)
            self.together(lambda host: (host.wait(), self.settle(host)))
        except BaseException:
            self.keep_logs()
            self.down()
            raise

    def together(self, action):
        """Does something on both hosts at once, while they start; if it fails on one, neither stays."""
        with concurrent.futures.ThreadPoolExecutor(len(self.hosts)) as pool:
            try:
                for done in [pool.submit(action, host) for host in self.hosts.values()]:
                    done.result()
            except BaseException:
                for host in self.hosts.values():  # So that nobody waits for the other one.
                    host.record.kill()
                raise

    def furnish(self, host, program):
        """Puts into a host's share what it gets at its start."""
        folder = os.path.join(host.share, "guests")
        os.makedirs(folder, exist_ok=True)
        for guest in plan.GUESTS.values():
            with open(os.path.join(folder, guest.name + ".cfg"), "w") as out:
                out.write(template(guest))
        if program:
            aside = os.path.join(host.share, "remusd.new")
            subprocess.run(["strip", "-o", aside, program], check=True)
            os.chmod(aside, 0o755)
            os.rename(aside, os.path.join(host.share, "remusd"))

    def settle(self, host):
        """Takes over what is in the share: the guests' templates and remusd."""
        host.run(
            "cp /mnt/share/guests/*.cfg /etc/xen/ && "
            "if [ -e /mnt/share/remusd ]; then cp /mnt/share/remusd /usr/local/bin/.remusd && "
            "mv /usr/local/bin/.remusd /usr/local/bin/remusd; fi"
        )

    def put(self, program):
        """Gives running hosts another remusd; what runs of the old one goes on with it."""
        for host in self.hosts.values():
            self.furnish(host, program)
        for host in self.hosts.values():
            if host.state() == "on":
                self.settle(host)

    def power_on(self, host):
        host.power_on(self.image())
        host.wait()
        self.settle(host)

    def down(self):
        """Ends every process of the lab and removes its directory."""
        for host in self.hosts.values():
            host.close()
            host.record.kill()
        self.links.record.kill()
        Record(os.path.join(self.directory, "etcd.pid")).kill()  # A case may have been ended before it could.
        shutil.rmtree(self.directory, ignore_errors=True)

    def keep_logs(self):
        """After a failed start: the consoles' last lines, since the directory goes."""
        for host in self.hosts.values():
            if os.path.exists(host.console):
                with open(host.console, errors="replace") as handle:
                    lines = handle.read().splitlines()[-15:]
                print("--- %s's console\n%s" % (host.name, "\n".join(lines)), file=sys.stderr)

    def wait_for(self, condition, seconds, what):
        """Until a condition holds; what it returned."""
        until = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > until:
                raise LabError("not within %g s: %s" % (seconds, what))
            time.sleep(0.2)
