#!/usr/bin/env python3
"""Records what the dirty pages of real guests hold, for bench's B3: small guests in QEMU, emulated in software, each stopped
every 200 ms and its memory compared with what it was.

Usage: scripts/bench record [--again] [--list] [WORKLOAD...]
  --again   record what is there already, too
  --list    the workloads' names

Prints the path of each trace (bench/tracefile.py says what is in one). Traces are kept in ${XDG_CACHE_HOME:-~/.cache}/remusd, half
a gigabyte; deleting them never changes a result, and costs a minute or two.
Exit: 0 done, 1 failed, 64 usage, 130 interrupted.
"""

import fcntl
import hashlib
import mmap
import os
import signal
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lab"))

import guest_image  # noqa: E402
import image  # noqa: E402
import packages  # noqa: E402
import tracefile  # noqa: E402
from failure import LabError, UsageError  # noqa: E402
from qemu import PATIENCE, Memory, Qemu  # noqa: E402

# Those that write a round for each epoch, and those that just go on.
ROUNDS = ("key-value", "first-byte", "incompressible")
WORKLOADS = ("idle", "web", "text", "build") + ROUNDS
MEMORY_MIB = 256
EPOCH_SECONDS = 0.2
WARM_UP_EPOCHS = 10
NEEDED = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "setpriv": "util-linux",
    "cc": "gcc",
    "strip": "binutils",
    "dpkg-deb": "dpkg",
    "tar": "tar",
}
# What traces follow from.
INPUTS = ("record.py", "tracefile.py", "guest_image.py", "guest-init", "workload.c")


def trace_folder():
    """The folder of the traces that these inputs give. Forgets others that nobody has used for a while."""
    digest = hashlib.sha256()
    for name in INPUTS:
        with open(os.path.join(HERE, name), "rb") as handle:
            digest.update(name.encode() + b"\0" + handle.read())
    folder = os.path.join(image.cache(), "traces-" + digest.hexdigest()[:16])
    os.makedirs(folder, exist_ok=True)
    os.utime(folder)
    image.forget_old("traces-*")
    return folder


class Guest:
    """A guest with its workload, whose memory can be looked at. It runs when made."""

    def __init__(self, workload, system, folder):
        self.in_rounds = workload in ROUNDS
        self.console = os.path.join(folder, "console")
        arguments = ["-accel", "tcg,thread=single", "-smp", "1"]
        arguments += ["-kernel", system + "/vmlinux", "-initrd", system + "/initrd"]
        arguments += ["-append", "console=ttyS0 quiet panic=-1 mitigations=off workload=" + workload]
        arguments += ["-chardev", "file,id=console,path=" + self.console]
        arguments += ["-serial", "chardev:console", "-serial", "chardev:order"]
        memory = Memory(MEMORY_MIB)
        try:
            self.memory = mmap.mmap(memory.file, 0, prot=mmap.PROT_READ)
            self.qemu = Qemu("guest-" + workload, folder + "/qemu.log", arguments, lines=["order"], memory=memory)
        finally:
            memory.close()
        self.order = self.qemu.lines["order"].makefile("rwb")

    def expect(self, word):
        """Waits for a line from the workload."""
        try:
            line = self.order.readline()
        except TimeoutError:
            raise LabError("%s did not say '%s' within %d s" % (self.qemu.name, word, PATIENCE))
        if line.strip() != word.encode():
            with open(self.console, "rb") as handle:
                seen = handle.read()[-500:].decode("utf-8", "replace").strip()
            raise LabError("%s said '%s', not '%s': %s" % (self.qemu.name, line.decode("latin-1").strip(), word, seen))

    def run_epoch(self):
        """Lets the stopped guest run for one epoch, and stops it."""
        begin = time.monotonic()
        self.qemu.command("cont")
        if self.in_rounds:
            self.order.write(b"go\n")
            self.order.flush()
            self.expect("done")
        time.sleep(max(0, begin + EPOCH_SECONDS - time.monotonic()))
        self.qemu.command("stop")

    def end(self):
        self.qemu.end()
        self.order.close()
        self.memory.close()


def record(workload, system, path):
    """Boots a guest and writes the trace of its workload to `path`, which appears when the trace is whole."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="remusd-record.") as folder:
        guest = Guest(workload, system, folder)
        aside = "%s.new.%d" % (path, os.getpid())
        try:
            guest.expect("ready")
            guest.qemu.command("stop")
            for _ in range(1 if guest.in_rounds else WARM_UP_EPOCHS):
                guest.run_epoch()
            copy = tracefile.Copy(guest.memory)
            with open(aside, "wb") as out:
                writer = tracefile.Writer(out, (MEMORY_MIB << 20) // tracefile.PAGE_SIZE)
                while not writer.is_full():
                    guest.run_epoch()
                    writer.epoch(copy.advance(guest.memory))
                writer.finish()
            os.rename(aside, path)
        finally:
            guest.end()
            if os.path.exists(aside):
                os.unlink(aside)
    seconds = time.monotonic() - begin
    print("record: %s: %d epochs, %d pages, %.0f s" % (workload, writer.epochs, writer.pages, seconds), file=sys.stderr)


def traces(workloads, again=False):
    """The paths of the workloads' traces; those that are not there are recorded, as all are when `again` says so."""
    folder = trace_folder()
    paths = [os.path.join(folder, name + ".trace") for name in workloads]
    if again or not all(map(os.path.exists, paths)):
        packages.need_packages(NEEDED, packages.FILES, "record")
        with open(os.path.join(folder, "lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # Two guests at once would take the processor from each other.
            system = guest_image.cached_guest(folder)
            for workload, path in zip(workloads, paths):
                if again or not os.path.exists(path):
                    record(workload, system, path)
    return paths


def chosen(words):
    """The workloads that the words name: all when none is."""
    for word in words:
        if word not in WORKLOADS:
            raise UsageError("no workload %s: there are %s" % (word, ", ".join(WORKLOADS)))
    return words or list(WORKLOADS)


def guarded(action):
    """Runs a program's main part; its exit code. Any end gives back what was started."""
    name = os.path.basename(sys.argv[0]).rpartition(".")[0]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return action() or 0
    except UsageError as error:
        print("%s: %s" % (name, error), file=sys.stderr)
        return 64
    except (LabError, OSError) as error:
        print("%s: %s" % (name, error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def main():
    words = sys.argv[1:]
    if "-h" in words or "--help" in words:
        print(__doc__.strip())
        return
    if "--list" in words:
        print("\n".join(WORKLOADS))
        return
    again = "--again" in words
    for path in traces(chosen([word for word in words if word != "--again"]), again):
        print(path)


if __name__ == "__main__":
    sys.exit(guarded(main))
