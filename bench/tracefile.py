"""Traces: what the dirty pages of a real guest held before and after each epoch; and how they are found.

A trace file, all numbers little-endian (bench/page-model.c and remusd-bench's TraceReader read it):

    header   "RMSTRACE"; u32 version, 1; u32 page size, 4096; u64 pages of the guest; u64 epochs that follow
    epoch    u64 pages that changed in it; u64 pages that follow, fewer where the epoch had more than there was room for
    page     u64 pfn, rising within an epoch; u64 flags, none defined: 0; 4096 bytes before; 4096 bytes after

Every page of a trace differs from what it was. Where not all pages of an epoch follow, those that do are stretches of
neighbours, spread evenly over all that changed. One file takes at most about 100 MB.
"""

import struct

MAGIC, VERSION = b"RMSTRACE", 1
HEADER = struct.Struct("<8sIIQQ")
EPOCH = struct.Struct("<QQ")
PAGE = struct.Struct("<QQ")
PAGE_SIZE = 4096
# What of the memory is compared at once: most of it is as it was.
BLOCK_PAGES = 16
BLOCK_SIZE = BLOCK_PAGES * PAGE_SIZE
STRETCH = 64
MOST_PAGES = 12000
MOST_EPOCHS = 20
LEAST_EPOCHS = 5


class Copy:
    """What the memory held when last looked at. The memory is anything whose slices are bytes, of whole blocks."""

    def __init__(self, memory):
        self.blocks = [memory[at : at + BLOCK_SIZE] for at in range(0, len(memory), BLOCK_SIZE)]

    def advance(self, memory):
        """The pages that differ now, as (pfn, before, after) in the order of their pfns."""
        changed = []
        for number, before in enumerate(self.blocks):
            after = memory[number * BLOCK_SIZE : (number + 1) * BLOCK_SIZE]
            if after == before:
                continue
            self.blocks[number] = after
            for place in range(BLOCK_PAGES):
                page = slice(place * PAGE_SIZE, (place + 1) * PAGE_SIZE)
                if before[page] != after[page]:
                    changed.append((number * BLOCK_PAGES + place, before[page], after[page]))
        return changed


def spread(pages, most):
    """At most so many of the pages (at least STRETCH): stretches of neighbours, spread evenly over all of them."""
    if len(pages) <= most:
        return pages
    count = most // STRETCH
    starts = [number * len(pages) // count for number in range(count)]
    return [page for start in starts for page in pages[start : start + STRETCH]]


class Writer:
    """Writes a trace into an open binary file, which it can also go back in."""

    def __init__(self, out, guest_pages):
        self.out, self.guest_pages = out, guest_pages
        self.epochs = self.pages = 0
        self._header()

    def _header(self):
        self.out.write(HEADER.pack(MAGIC, VERSION, PAGE_SIZE, self.guest_pages, self.epochs))

    def epoch(self, changed):
        """Appends an epoch with the pages that changed in it, or as many of them as there is room for."""
        kept = spread(changed, MOST_PAGES // LEAST_EPOCHS)
        self.out.write(EPOCH.pack(len(changed), len(kept)))
        for pfn, before, after in kept:
            self.out.write(PAGE.pack(pfn, 0) + before + after)
        self.epochs += 1
        self.pages += len(kept)

    def is_full(self):
        """Whether the trace holds as much as it may: one more epoch could be too much."""
        return self.epochs >= MOST_EPOCHS or self.pages + MOST_PAGES // LEAST_EPOCHS > MOST_PAGES

    def finish(self):
        self.out.seek(0)
        self._header()
        self.out.flush()
