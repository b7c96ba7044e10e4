"""`scripts/xenlab bench`: how much of a guest's time its protection takes, seen from inside, beside xl remus. Everything on the same
two emulated hosts, in turn: only the ratios say anything."""

import json
import re
import sys
import time

import packages
import plan
import xlremus
from failure import LabError, UsageError
from kit import Kit
from laboratory import Lab

LOADS = (0, 500, 4000)  # Pages that the guest writes to each 100 ms.
INTERVAL_MS = 100
BAR = 1.5
# As the table calls them: the peer to the other host, which ours is compared with, and to nowhere.
PEER = "xl remus -Fnd"
PEERS = {PEER: xlremus.start, "xl remus -Fbnd": xlremus.start_to_nowhere}
OURS = {"remusd": [], "remusd --encoding plain": ["--encoding", "plain"]}
NOTHING = "unprotected"
WAYS = (NOTHING, *OURS, *PEERS)


def main(words):
    options = {"--guest": [], "--load": [], "--seconds": ["60"], "--output": ["text"]}
    while words:
        word = words.pop(0)
        if word not in options or not words:
            raise UsageError("bench takes --guest NAME, --load PAGES, --seconds N and --output text|json, not %s" % word)
        options[word].append(words.pop(0))
    names, output = options["--guest"] or ["pv1", "pvh1"], options["--output"][-1]
    if not set(names) <= set(plan.GUESTS) or output not in ("text", "json"):
        raise UsageError("bench takes the lab's guests, and --output text|json")
    try:
        seconds, loads = int(options["--seconds"][-1]), [int(load) for load in options["--load"]] or list(LOADS)
    except ValueError:
        raise UsageError("--seconds and --load are numbers") from None
    import verbs

    packages.need_packages()
    with Lab().running(verbs.program()) as lab:
        cells = measure(Kit(lab, lambda text: None), names, loads, seconds)
    rows = [row(cells, name, load) for name in names for load in loads]
    found = {"interval_ms": INTERVAL_MS, "seconds": seconds, "rows": rows}
    print(json.dumps(found, indent=2) if output == "json" else table(rows))
    return 0


def measure(kit, names, loads, seconds):
    """A cell for each guest, load and way of protection, one after the other: {(guest, load, way): Cell}."""
    cells = {}
    for name in names:
        for load in loads:
            for way in WAYS:
                try:
                    cells[name, load, way] = cell(kit, name, load, way, seconds)
                finally:
                    kit.disturbed = True
                    kit.tidy()
                print("bench: %-5s %4d pages  %-15s %s" % (name, load, way, cells[name, load, way]), flush=True, file=sys.stderr)
    return cells


class Cell:
    """What one guest lost in one cell."""

    def __init__(self, gaps_ms, wall, checkpoints, freeze_ms, thaw_ms):
        self.lost_ms = sum(gaps_ms)
        self.longest_ms = max(gaps_ms, default=0.0)
        self.wall, self.checkpoints = wall, checkpoints
        self.freeze_ms, self.thaw_ms = freeze_ms, thaw_ms

    @property
    def rate(self):
        return self.checkpoints / self.wall

    def each(self, quiet_ms_per_second):
        """Milliseconds lost for each checkpoint, without what an unprotected guest loses in the same time."""
        return (self.lost_ms - quiet_ms_per_second * self.wall) / self.checkpoints if self.checkpoints else None

    def __str__(self):
        return "%5.1f %% available, %.2f checkpoints/s, lost %.0f ms, longest %.0f ms" % (
            100 - self.lost_ms / self.wall / 10, self.rate, self.lost_ms, self.longest_ms)


def cell(kit, name, load, way, seconds):
    guest = kit.guest(name)
    if way in OURS:
        kit.standby(kit.beta)
        kit.protect(name, kit.alpha, kit.beta, "--interval", "%dms" % INTERVAL_MS, *OURS[way])
        kit.wait_protected(name, kit.alpha, seconds=240)
    elif way in PEERS:
        PEERS[way](kit, name, INTERVAL_MS)
        # It says nothing of its first checkpoint: the guest's kernel does of its first suspensions.
        kit.lab.wait_for(lambda: guest.shell("dmesg", timeout=60).count("Freezing user space") >= 3, 300, "%s is checkpointed by xl" % name)
    with kit.lab.links.connect(guest.plan.address, plan.SHELL_PORT, 60) as stream:
        # Whoever ends with something unread takes back what he said: the loop looks at what ends it, and `read` takes it.
        stream.sendall(b"exec 2>&1; dmesg -c >/dev/null; grep -m 1 MHz /proc/cpuinfo; clockloop %d; read end; dmesg; exit\n" % load)
        time.sleep(3)  # It measures its millisecond first.
        before, start = committed(kit, name, way), time.monotonic()
        time.sleep(seconds)
        rate = (committed(kit, name, way) - before) / (time.monotonic() - start)
        stream.sendall(b"\n")
        stream.settimeout(60)
        text = b"".join(iter(lambda: stream.recv(65536), b"")).decode("utf-8", "replace")
    return read(text, rate if way in OURS else None)


def read(text, rate):
    """A cell, from what a guest said: its clock's rate, the clock loop's findings, and its kernel's messages.
    rate: checkpoints that were committed a second; None: as many as the guest was suspended while the loop ran."""
    clock, total = re.search(r"^cpu MHz\s*: ([\d.]+)$", text, re.M), re.search(r"^total (\d+)$", text, re.M)
    if not clock or not total:
        raise LabError("the guest's clock loop says: %s" % (text[-300:] or "nothing"))
    tick_ms = 1 / (float(clock.group(1)) * 1000)
    gaps = [int(ticks) * tick_ms for ticks in re.findall(r"^gap (\d+)$", text, re.M)]
    wall = int(total.group(1)) * tick_ms / 1000
    suspensions, freeze, thaw = suspended(text)
    return Cell(gaps, wall, suspensions if rate is None else rate * wall, freeze, thaw)


def committed(kit, name, way):
    return (kit.status(name, kit.alpha, "primary").get("epoch") or {}).get("committed") or 0 if way in OURS else 0


def suspended(text):
    """How often the guest's kernel says that it was suspended, and the median milliseconds that it took to freeze all that runs and to
    let it go on (linux kernel/power/process.c, drivers/xen/manage.c)."""
    freeze, thaw, began, asleep = [], [], None, None
    for stamp, line in re.findall(r"^(?:<\d+>)?\[ *(\d+\.\d+)\] (.*)$", text, re.M):
        at = float(stamp) * 1000
        if line.startswith("Freezing user space"):
            began = at
        elif line.startswith("Freezing remaining"):
            elapsed = re.search(r"elapsed (\d+\.\d+)", line)
            asleep = at + (float(elapsed.group(1)) * 1000 if elapsed else 0)
            if began is not None:
                freeze.append(asleep - began)
        elif line.startswith("Restarting tasks") and asleep is not None:
            thaw.append(at - asleep)
            began = asleep = None
    return len(thaw), middle(freeze), middle(thaw)


def middle(values):
    return sorted(values)[len(values) // 2] if values else None


def row(cells, name, load):
    quiet = cells[name, load, NOTHING]
    rest = quiet.lost_ms / quiet.wall
    peer = cells[name, load, PEER]
    return {
        "guest": name,
        "pages_per_100ms": load,
        "ways": {way: describe(cells[name, load, way], rest) for way in WAYS},
        "verdicts": {way: verdict(cells[name, load, way], peer, rest) for way in OURS},
    }


def verdict(ours, peer, rest):
    """What the peer loses, over what ours loses; whether that counts, and is enough."""
    own, other = ours.each(rest), peer.each(rest)
    ratio = other / own if own and other and own > 0 else None
    counts = ratio is not None and ours.rate >= peer.rate
    return {"ratio": ratio, "counts": counts, "met": ratio >= BAR if counts else None}


def describe(cell, rest):
    return {
        "checkpoints_per_second": cell.rate,
        "lost_ms_per_checkpoint": cell.each(rest),
        "available": 1 - cell.lost_ms / cell.wall / 1000,
        "longest_ms": cell.longest_ms,
        "freeze_ms": cell.freeze_ms,
        "thaw_ms": cell.thaw_ms,
    }


def table(rows):
    lines = ["| guest | pages / 100 ms | way | checkpoints / s | lost ms each | freeze | suspended | thaw | longest ms | available |", "|---|---|---|---|---|---|---|---|---|---|"]
    for each in rows:
        for way, cell in each["ways"].items():
            parts = [cell["freeze_ms"], None, cell["thaw_ms"]]
            if None not in (cell["lost_ms_per_checkpoint"], parts[0], parts[2]):
                parts[1] = max(0.0, cell["lost_ms_per_checkpoint"] - parts[0] - parts[2])
            words = [each["guest"], "%d" % each["pages_per_100ms"], way, "%.2f" % cell["checkpoints_per_second"], number(cell["lost_ms_per_checkpoint"])]
            words += [number(part) for part in parts] + ["%.0f" % cell["longest_ms"], "%.1f %%" % (100 * cell["available"])]
            lines.append("| " + " | ".join(words) + " |")
    lines.append("")
    for each in rows:
        for way, found in each["verdicts"].items():
            words = {True: "met", False: "NOT MET", None: "does not count"}[found["met"]]
            told = (each["guest"], each["pages_per_100ms"], PEER, number(found["ratio"]), way, BAR, words)
            lines.append("%s, %d pages: %s loses %s times as much as %s (bar: %.1f): %s" % told)
    return "\n".join(lines)


def number(value):
    return "-" if value is None else "%.1f" % value
