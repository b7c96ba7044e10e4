"""One Xen host: a QEMU, its two disks, and a way to run commands in it."""

import os
import shlex
import signal
import socket
import subprocess
import time

import plan
from failure import LabError
from processes import Record

READY = b"lab: %s is up"


class Host:
    def __init__(self, directory, name):
        self.name = name
        self.lab = directory
        self.directory = os.path.join(directory, name)
        self.record = Record(os.path.join(self.directory, "qemu.pid"))
        self.console = os.path.join(self.directory, "console.log")
        self.share = os.path.join(self.directory, "share")
        self.trace = lambda text: None

    def prepare(self, image):
        """Disks of its own: copies, so that one lab never sees another's."""
        os.makedirs(self.share)
        copy = ["cp", "--reflink=auto", "--sparse=always"]
        subprocess.run(copy + [os.path.join(image, "disk"), os.path.join(self.directory, "root")], check=True)
        state = os.path.join(self.directory, "state")
        make = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", "remusd", state, "%dM" % plan.STATE_DISK_MIB]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)

    def power_on(self, image):
        if self.record.pid() is not None:
            raise LabError("%s has power already" % self.name)
        self.close()
        open(self.console, "w").close()
        for _ in range(3):  # Somebody else may take the port between its choice and its use.
            self.record.start(self._qemu(image), os.path.join(self.directory, "qemu.log"))
            time.sleep(0.5)
            if self.record.pid() is not None:
                return
        with open(os.path.join(self.directory, "qemu.log")) as handle:
            raise LabError("%s cannot start: %s" % (self.name, handle.read().strip()[-500:]))

    def close(self):
        """Ends the connection that commands share."""
        if os.path.exists(os.path.join(self.directory, "ssh")):
            subprocess.run(["ssh"] + self._ssh_options() + ["-O", "exit", "lab"], stderr=subprocess.DEVNULL)

    def wait(self, seconds=90):
        """Until it has started and takes commands."""
        until = time.monotonic() + seconds
        mark = READY % self.name.encode()
        while True:
            with open(self.console, "rb") as handle:
                if mark in handle.read():
                    break
            if self.record.pid() is None:
                with open(os.path.join(self.directory, "qemu.log")) as handle:
                    raise LabError("%s ended while it started: %s" % (self.name, handle.read()[-500:]))
            if time.monotonic() > until:
                raise LabError("%s did not start within %d s: see %s" % (self.name, seconds, self.console))
            time.sleep(0.1)
        while self.run("true", check=False, timeout=20).returncode != 0:
            if time.monotonic() > until:
                raise LabError("%s runs but takes no commands: see %s" % (self.name, self.console))
            time.sleep(0.2)

    def power_off(self):
        """A loss of power: nothing is written any more, nothing is said to anybody."""
        self.record.kill()
        self.close()

    def hang(self):
        if not self.record.send(signal.SIGSTOP):
            raise LabError("%s has no power" % self.name)
        while self.state() == "on":  # Each of its threads stops at its next chance.
            time.sleep(0.01)

    def unhang(self):
        if not self.record.send(signal.SIGCONT):
            raise LabError("%s has no power" % self.name)

    def state(self):
        pid = self.record.pid()
        if pid is None:
            return "off"
        with open("/proc/%d/stat" % pid) as handle:
            return "hung" if handle.read().rpartition(")")[2].split()[0] in "Tt" else "on"

    def _qemu(self, image):
        number = plan.HOST_NAMES.index(self.name) + 1
        vmm = "console=com1 com1=115200,8n1 dom0_mem=%dM,max:%dM dom0_max_vcpus=1 loglvl=warning guest_loglvl=none noreboot sched=credit spec-ctrl=no bootscrub=0"
        dom0 = "console=hvc0 root=/dev/vda rw net.ifnames=0 loglevel=4 " + plan.FAST_KERNEL
        dom0 += " lab.host=%s lab.mtu=%d" % (self.name, plan.MTU[plan.REPLICATION])
        dom0 += " lab.replication=%s/%d" % (plan.REPLICATION_ADDRESS[self.name], plan.PREFIX)
        dom0 += " lab.bridge=%s/%d" % (plan.BRIDGE_ADDRESS[self.name], plan.PREFIX)
        command = ["qemu-system-x86_64", "-name", "lab-" + self.name, "-accel", "tcg,thread=single", "-smp", "1"]
        command += ["-cpu", "qemu64,+svm,+npt", "-m", str(plan.HOST_MEMORY_MIB), "-nodefaults", "-display", "none", "-no-reboot"]
        command += ["-chardev", "file,id=console,path=%s,append=on" % self.console, "-serial", "chardev:console"]
        command += ["-monitor", "unix:%s/monitor,server=on,wait=off" % self.directory]
        command += ["-kernel", image + "/vmm", "-append", vmm % ((plan.DOM0_MEMORY_MIB,) * 2)]
        command += ["-initrd", "%s/vmlinux %s,%s/initrd" % (image, dom0, image)]
        command += ["-drive", "file=%s/root,format=raw,if=virtio,cache=unsafe" % self.directory]
        command += ["-drive", "file=%s/state,format=raw,if=virtio,cache=writeback" % self.directory]
        command += ["-virtfs", "local,path=%s,mount_tag=share,security_model=none" % self.share]
        command += ["-netdev", "user,id=management,restrict=on,hostfwd=tcp:127.0.0.1:%d-10.0.2.15:22" % self._new_port()]
        for link in plan.LINKS:
            path = os.path.join(self.lab, "%s-%s" % (self.name, link))
            ends = "local.type=unix,local.path=%s.vm,remote.type=unix,remote.path=%s.sw" % (path, path)
            command += ["-netdev", "dgram,id=%s,%s" % (link, ends)]
        for place, link in enumerate(("management",) + plan.LINKS):
            command += ["-device", "virtio-net-pci,netdev=%s,mac=52:54:00:1a:%02x:%02x,romfile=" % (link, number, place)]
        return command

    def _new_port(self):
        """A free port of this machine for ssh, kept in a file for other runs of xenlab."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with open(os.path.join(self.directory, "ssh_port"), "w") as out:
            out.write("%d\n" % port)
        return port

    def _ssh_options(self):
        try:
            with open(os.path.join(self.directory, "ssh_port")) as handle:
                port = handle.read().strip()
        except OSError:
            port = "1"
        options = ["-F", "none", "-i", os.path.join(self.lab, "ssh_key"), "-p", port, "-l", "root"]
        for option in (
            "HostName=127.0.0.1", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR",
            "BatchMode=yes", "ConnectTimeout=10", "ControlMaster=auto", "ControlPersist=yes",
            "ControlPath=%s/ssh" % self.directory, "Compression=no", "IdentitiesOnly=yes",
        ):
            options += ["-o", option]
        return options

    def ssh(self, words, terminal=False):
        """The command that runs a shell command line in the host."""
        return ["ssh"] + self._ssh_options() + (["-t"] if terminal else []) + ["lab"] + list(words)

    def run(self, command, check=True, timeout=60, input=None):
        """Runs a shell command line; what it printed, and its exit code. Output and errors come together."""
        line = command if isinstance(command, str) else " ".join(shlex.quote(word) for word in command)
        self.trace("%s$ %s" % (self.name, line))
        line = ". /root/.profile; " + line
        try:
            result = subprocess.run(
                self.ssh([line]), input=input, stdin=None if input is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            raise LabError("%s: no answer within %d s to: %s" % (self.name, timeout, command))
        result.stdout = result.stdout.decode("utf-8", "replace")
        self.trace("%s%s> exit %d" % (result.stdout, self.name, result.returncode))
        if check and result.returncode != 0:
            raise LabError("%s: '%s' failed (%d): %s" % (self.name, command, result.returncode, result.stdout.strip()[-2000:]))
        return result
