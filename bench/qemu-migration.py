#!/usr/bin/env python3
"""How fast QEMU sends a guest's memory in its plain migration, between two of its processes: the peer of bench's B9.

Usage: bench/qemu-migration.py [--memory MIB] [--zero PERCENT] [--rounds N] [--cpus SOURCE,TARGET] [--output text|json]
  --memory MIB    of the guest; 1024 if not said
  --zero PERCENT  of its pages that are all zero; 60 if not said. The others are random.
  --rounds N      migrations, each between two new processes; 5 if not said
  --cpus S,T      the only processor that the source may use, and the target; any if not said

The guest never runs, so nothing is sent twice; the link is a unix socket, and its bandwidth is not limited. GB/s are the
guest's memory, zero pages included, over the time from the order to the source's being done: 10^9 bytes.
Exit: 0 done, 1 failed, 64 usage, 130 interrupted.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import record  # noqa: E402
import packages  # noqa: E402
from failure import LabError  # noqa: E402
from qemu import PATIENCE, Memory, Qemu  # noqa: E402
from tracefile import PAGE_SIZE  # noqa: E402

UNLIMITED = 1 << 40  # Bytes a second.
STILL = ["-accel", "tcg", "-S"]


def fill(out, pages, zero_percent):
    """Writes that many pages into an open file. Those that are not zero are spread evenly, and always the same."""
    content = random.Random(1)
    for page in range(pages):
        # A multiple of an odd number visits the whole range evenly (Knuth's multiplicative hashing).
        is_zero = (page * 2654435761 & 0xFFFFFFFF) * 100 < zero_percent << 32
        out.write(bytes(PAGE_SIZE) if is_zero else content.randbytes(PAGE_SIZE))


def migrate(folder, memory, cpus):
    """Migrates once. Seconds by the clock, and what QEMU itself says: seconds, bytes sent."""
    link = os.path.join(folder, "link")
    target = source = None
    try:
        # The names and sizes of memory must be the same on both sides; whether it is shared need not.
        incoming = STILL + ["-m", str(memory.mib), "-machine", "pc,memory-backend=memory"]
        incoming += ["-object", "memory-backend-ram,id=memory,size=%dM" % memory.mib, "-incoming", "unix:" + link]
        target = Qemu("target", folder + "/target.log", incoming, cpu=cpus[1])
        source = Qemu("source", folder + "/source.log", STILL, memory=memory, cpu=cpus[0])
        source.command("migrate-set-parameters", max_bandwidth=UNLIMITED)
        begin = time.monotonic()
        source.command("migrate", uri="unix:" + link)
        while True:
            seen = source.command("query-migrate")
            if seen["status"] == "completed":
                break
            if seen["status"] in ("failed", "cancelled") or time.monotonic() > begin + PATIENCE:
                raise LabError("the migration is %s: %s %s" % (seen["status"], source.said(), target.said()))
            time.sleep(0.001)
        seconds = time.monotonic() - begin
        return {"seconds": seconds, "qemu_seconds": seen["total-time"] / 1e3, "sent": seen["ram"]["transferred"]}
    finally:
        for process in (source, target):
            if process:
                process.end()
        if os.path.exists(link):
            os.unlink(link)


def measure(options):
    """All rounds; what is printed as JSON."""
    packages.need_packages({"qemu-system-x86_64": "qemu-system-x86", "setpriv": "util-linux"}, {}, "qemu-migration")
    size = options.memory << 20
    # All of it is mapped when the source starts, as after its guest ran.
    memory = Memory(options.memory, ",prealloc=on")
    try:
        with open(memory.file, "wb", closefd=False) as out:
            fill(out, size // PAGE_SIZE, options.zero)
        with tempfile.TemporaryDirectory(prefix="remusd-migration.") as folder:
            rounds = [migrate(folder, memory, options.cpus) for _ in range(options.rounds)]
    finally:
        memory.close()
    rates = sorted(size / each["seconds"] / 1e9 for each in rounds)
    return {
        "memory_bytes": size, "zero_percent": options.zero, "gb_per_s_best": rates[-1],
        "gb_per_s_median": rates[len(rates) // 2], "rounds": rounds,
    }


def parsed(words):
    def processors(text):
        first, second = text.split(",")
        return int(first), int(second)

    def between(least, most):
        def number(text):
            if not least <= int(text) <= most:
                raise ValueError(text)
            return int(text)

        return number

    parser = argparse.ArgumentParser(usage="see --help", add_help=False)
    parser.add_argument("--memory", type=between(16, 1 << 20), default=1024)
    parser.add_argument("--zero", type=between(0, 100), default=60)
    parser.add_argument("--rounds", type=between(1, 1000), default=5)
    parser.add_argument("--cpus", type=processors, default=(None, None))
    parser.add_argument("--output", choices=("text", "json"), default="text")
    return parser.parse_args(words)


def main():
    if set(sys.argv[1:]) & {"-h", "--help"}:
        print(__doc__.strip())
        return
    try:
        options = parsed(sys.argv[1:])
    except SystemExit:
        return 64
    found = measure(options)
    if options.output == "json":
        print(json.dumps(found))
        return
    for each in found["rounds"]:
        rate = found["memory_bytes"] / each["seconds"] / 1e9
        print("%6.3f GB/s  %6.3f s (QEMU says %.3f s)  %d bytes sent" % (rate, each["seconds"], each["qemu_seconds"], each["sent"]))
    print("%6.3f GB/s  best" % found["gb_per_s_best"])


if __name__ == "__main__":
    sys.exit(record.guarded(main))
