"""A QEMU that ends with whoever started it, and its QMP (QEMU documentation, docs/interop/qmp-spec)."""

import json
import os
import socket
import subprocess

from failure import LabError

PATIENCE = 300
MONITOR = "monitor"


class Memory:
    """A guest's memory that others can look at. It has no name, so it is gone with those who have it open (memfd_create(2))."""

    def __init__(self, mib, options=""):
        self.mib, self.options = mib, options
        self.file = os.memfd_create("guest")
        os.truncate(self.file, mib << 20)

    def arguments(self):
        """For a QEMU that inherits the file."""
        return ["-m", str(self.mib), "-machine", "pc,memory-backend=memory", "-object"] + [
            "memory-backend-file,id=memory,size=%dM,mem-path=/proc/self/fd/%d,share=on%s" % (self.mib, self.file, self.options)
        ]

    def close(self):
        os.close(self.file)


class Qemu:
    def __init__(self, name, log, arguments, lines=(), memory=None, cpu=None):
        """Starts one, paused or not as the arguments say. `lines` names character devices to be made; each is a socket in
        `self.lines`. `memory` is a `Memory` for its guest. `cpu` is the only processor that it may use."""
        self.name, self.log = name, log
        self.process, self.monitor, self.lines = None, None, {}
        theirs, inherited = [], []
        command = ["taskset", "-c", str(cpu)] if cpu is not None else []
        command += ["setpriv", "--pdeathsig", "KILL", "--", "qemu-system-x86_64", "-name", name]
        command += ["-nodefaults", "-display", "none", "-no-reboot"]
        try:
            for device in MONITOR, *lines:
                self.lines[device], end = socket.socketpair()
                self.lines[device].settimeout(PATIENCE)
                theirs.append(end)
                command += ["-chardev", "socket,id=%s,fd=%d" % (device, end.fileno())]
            command += ["-mon", "chardev=%s,mode=control" % MONITOR] + arguments
            inherited += [end.fileno() for end in theirs]
            if memory:
                command += memory.arguments()
                inherited.append(memory.file)
            with open(log, "wb") as out:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=inherited
                )
            for end in theirs:
                end.close()  # Or nobody would see QEMU's end.
            self.monitor = self.lines[MONITOR].makefile("rwb")
            self._answer()  # It greets first.
            self.command("qmp_capabilities")
        except BaseException:
            self.end()
            raise
        finally:
            for end in theirs:
                end.close()

    def command(self, name, **arguments):
        """Carries out a QMP command; what it returns. An argument's underscores stand for hyphens."""
        words = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.monitor.write(json.dumps({"execute": name, "arguments": words}).encode() + b"\n")
        self.monitor.flush()
        while True:
            answer = self._answer()
            if "error" in answer:
                raise LabError("%s: %s: %s" % (self.name, name, answer["error"]["desc"]))
            if "return" in answer:
                return answer["return"]

    def _answer(self):
        line = self.monitor.readline()
        if not line:
            raise LabError("%s ended: %s" % (self.name, self.said()))
        return json.loads(line)

    def said(self):
        """The end of what it printed."""
        with open(self.log, "rb") as handle:
            return handle.read()[-500:].decode("utf-8", "replace").strip() or "without a word"

    def end(self):
        """Ends it at once, and waits until it is gone."""
        if self.process:
            self.process.kill()
            self.process.wait()
        for stream in [self.monitor] + list(self.lines.values()):
            if stream:
                stream.close()
