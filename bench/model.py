#!/usr/bin/env python3
"""What the model (page-model.c) makes of the traces of real guests: bytes a dirty page, the yardstick of bench's B3.

Usage: bench/model.py [--output text|json] [WORKLOAD...]
  --output json   one JSON object a line and workload: what page-model prints, and `trace`, the trace's path

Records the traces that are not there yet (bench/record.py). Exit: 0 done, 1 failed, 64 usage, 130 interrupted.
"""

import hashlib
import json
import os
import sys

sys.dont_write_bytecode = True

import record  # noqa: E402
import image  # noqa: E402
import packages  # noqa: E402
from failure import UsageError  # noqa: E402

SOURCE = os.path.join(record.HERE, "page-model.c")
COLUMNS = ("raw", "rle8", "lz4", "model")


def program():
    """The path of page-model, compiled once for each form of its source."""
    with open(SOURCE, "rb") as handle:
        key = hashlib.sha256(handle.read()).hexdigest()[:16]
    path = os.path.join(image.cache(), "page-model-" + key)
    if not os.path.exists(path):
        packages.need_packages({"cc": "gcc"}, dict(packages.FILES, **{"/usr/include/lz4.h": "liblz4-dev"}), "model")
        os.makedirs(image.cache(), exist_ok=True)
        aside = "%s.new.%d" % (path, os.getpid())
        image.run("cc", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-o", aside, SOURCE, "-llz4")
        os.rename(aside, path)
    return path


def judged(workloads):
    """What the model makes of each, and where its trace is."""
    paths = record.traces(workloads)
    lines = image.run(program(), *paths).splitlines()
    return [dict(json.loads(line), trace=path) for line, path in zip(lines, paths)]


def table(found):
    """The same, as people read it."""
    yield "%-15s %11s %6s" % ("bytes a page", "pages/epoch", "zero") + " %8s" * 4 % COLUMNS + "  less than raw"
    for each in found:
        front = "%-15s %11.0f %5.1f%%" % (
            each["workload"], each["changed"] / max(1, each["epochs"]), 100 * each["zero"] / max(1, each["pages"])
        )
        times = "%12.1fx" % (each["raw"] / each["model"]) if each["model"] else ""
        yield front + "".join(" %8.0f" % each[column] for column in COLUMNS) + times


def main():
    words = sys.argv[1:]
    if "-h" in words or "--help" in words:
        print(__doc__.strip())
        return
    output = "text"
    if words[:1] == ["--output"]:
        output, words = (words[1:2] or [""])[0], words[2:]
        if output not in ("text", "json"):
            raise UsageError("--output is text or json")
    found = judged(record.chosen(words))
    print("\n".join(table(found) if output == "text" else map(json.dumps, found)))


if __name__ == "__main__":
    sys.exit(record.guarded(main))
