"""For scripts/test: what of bench/ can be shown without a guest.

Usage: python3 Tests/Bench/bench_test.py
"""

import importlib.machinery
import importlib.util
import io
import json
import os
import random
import stat
import struct
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench")
sys.path.insert(0, BENCH)

import model  # noqa: E402  (first: it makes lab/ known)
import image  # noqa: E402
import packages  # noqa: E402
import qemu  # noqa: E402
import record  # noqa: E402
import tracefile  # noqa: E402
from failure import LabError, UsageError  # noqa: E402

PAGE = tracefile.PAGE_SIZE
BLOCK = tracefile.BLOCK_PAGES
RANDOM = random.Random(5)


def with_word(page, word, value=b"changed!"):
    """A page whose word of 8 bytes at a place is another."""
    return page[: 8 * word] + value + page[8 * word + 8 :]


class CopyTests(unittest.TestCase):
    def test_exactly_the_pages_that_changed_are_found_once(self):
        memory = bytearray(RANDOM.randbytes(4 * BLOCK * PAGE))
        copy = tracefile.Copy(memory)
        self.assertEqual(copy.advance(memory), [])
        before = bytes(memory)
        places = [0, PAGE - 1, BLOCK * PAGE - 1, BLOCK * PAGE, 4 * BLOCK * PAGE - 1]
        for place in places:
            memory[place] ^= 1
        changed = copy.advance(memory)
        self.assertEqual([pfn for pfn, _, _ in changed], [0, BLOCK - 1, BLOCK, 4 * BLOCK - 1])
        for pfn, old, new in changed:
            self.assertEqual(old, before[pfn * PAGE : (pfn + 1) * PAGE])
            self.assertEqual(new, memory[pfn * PAGE : (pfn + 1) * PAGE])
        self.assertEqual(copy.advance(memory), [])

    def test_what_is_kept_of_many_pages_is_spread_over_all_of_them(self):
        for count, most in ((100, 100), (101, 100), (2401, 2400), (16398, 2400), (65536, 2400)):
            kept = tracefile.spread(list(range(count)), most)
            self.assertLessEqual(len(kept), most)
            self.assertGreater(len(kept), min(count, most) - tracefile.STRETCH)
            self.assertEqual(kept, sorted(set(kept)))
            self.assertLessEqual(max(b - a for a, b in zip(kept, kept[1:])), count // (most // tracefile.STRETCH) + 1)


class TraceTests(unittest.TestCase):
    def written(self, *epochs):
        """The bytes of a trace of these epochs: lists of (pfn, before, after)."""
        out = io.BytesIO()
        writer = tracefile.Writer(out, 65536)
        for epoch in epochs:
            writer.epoch(epoch)
        writer.finish()
        return out.getvalue()

    def judged(self, data):
        """What page-model says of a trace."""
        with tempfile.TemporaryDirectory() as folder:
            path = folder + "/some-work.trace"
            with open(path, "wb") as out:
                out.write(data)
            return subprocess.run([model.program(), path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def model_of(self, before, after):
        return json.loads(self.judged(self.written([(7, before, after)])).stdout)

    def test_the_file_is_as_its_description_says(self):
        old, new = RANDOM.randbytes(PAGE), RANDOM.randbytes(PAGE)
        data = self.written([(3, old, new)], [])
        number = lambda value, size: value.to_bytes(size, "little")  # noqa: E731
        head = b"RMSTRACE" + number(1, 4) + number(4096, 4) + number(65536, 8) + number(2, 8)
        first = number(1, 8) + number(1, 8) + number(3, 8) + number(0, 8) + old + new
        self.assertEqual(data, head + first + number(0, 8) + number(0, 8))

    def test_a_trace_ends_before_it_is_too_large(self):
        one = [(pfn, bytes(PAGE), bytes(PAGE)) for pfn in range(16398)]
        writer = tracefile.Writer(io.BytesIO(), 65536)
        while not writer.is_full():
            writer.epoch(one)
        self.assertEqual(writer.epochs, tracefile.LEAST_EPOCHS)
        self.assertLessEqual(writer.out.tell(), 100_000_000)
        writer = tracefile.Writer(io.BytesIO(), 65536)
        while not writer.is_full():
            writer.epoch(one[:18])
        self.assertEqual(writer.epochs, tracefile.MOST_EPOCHS)

    def test_words_that_changed_cost_themselves_and_two_numbers_a_run(self):
        page = RANDOM.randbytes(PAGE)
        for words, size in (((0,), 10), ((127,), 10), ((128,), 11), ((3, 4, 5), 26), ((0, 511), 21), ((), 0)):
            after = page
            for word in words:
                after = with_word(after, word)
            found = self.model_of(page, after)
            self.assertEqual((found["rle8"], found["model"], found["raw"]), (size, size, 4104), words)
        self.assertEqual(self.model_of(page, RANDOM.randbytes(1600) + page[1600:])["rle8"], 1 + 2 + 1600)

    def test_the_model_takes_the_smallest_and_never_more_than_the_page(self):
        page = RANDOM.randbytes(PAGE)
        found = self.model_of(page, RANDOM.randbytes(PAGE))
        self.assertEqual((found["rle8"], found["lz4"], found["model"], found["by"]["whole"]), (4096, 4096, 4096, 1))
        found = self.model_of(page, b"abcdefgh" * 512)
        self.assertEqual((found["rle8"], found["model"], found["by"]["lz4"]), (4096, found["lz4"], 1))
        self.assertLess(found["lz4"], 64)
        found = self.model_of(page, bytes(PAGE))
        self.assertEqual((found["model"], found["zero"], found["by"]["zero"]), (0, 1, 1))

    def test_the_model_adds_up_epochs(self):
        page = RANDOM.randbytes(PAGE)
        answer = self.judged(self.written([(1, page, with_word(page, 0)), (2, page, bytes(PAGE))], [(9, page, with_word(page, 511))]))
        found = json.loads(answer.stdout)
        self.assertEqual((found["workload"], found["epochs"], found["changed"], found["pages"]), ("some-work", 2, 3, 3))
        self.assertEqual(found["model"], 7)  # (10 + 0 + 11) / 3

    def test_what_is_no_whole_trace_is_refused(self):
        page = RANDOM.randbytes(PAGE)
        whole = self.written([(1, page, with_word(page, 0))])
        self.assertEqual(self.judged(whole).returncode, 0)
        for data in (b"", whole[:31], whole[:-1], whole + b"x", b"X" + whole[1:], whole[:8] + b"\2" + whole[9:]):
            self.assertEqual(self.judged(data).returncode, 1)

    def test_the_table_has_a_line_for_each_workload(self):
        head, line = model.table([self.model_of(bytes(PAGE), RANDOM.randbytes(PAGE))])
        self.assertEqual(line.split(), ["some-work", "1", "0.0%", "4104", "4096", "4096", "4096", "1.0x"])


# Stands in for QEMU: greets, tells of an event before each answer, and fails what it does not know.
STAND_IN = """#!%s
import json, socket, sys
order = [word for word in sys.argv if word.startswith("socket,id=monitor,fd=")][0]
stream = socket.socket(fileno=int(order.rpartition("=")[2])).makefile("rwb")
def say(what):
    stream.write(json.dumps(what).encode() + b"\\r\\n")
    stream.flush()
say({"QMP": {}})
for line in stream:
    order = json.loads(line)
    if order["execute"] == "quit":
        print("had enough")
        sys.exit(1)
    say({"event": "RESUME"})
    if order["execute"] == "unknown":
        say({"error": {"class": "CommandNotFound", "desc": "never heard of it"}})
    else:
        say({"return": order["arguments"]})
"""


class QemuTests(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        program = os.path.join(self.folder.name, "qemu-system-x86_64")
        with open(program, "w") as out:
            out.write(STAND_IN % sys.executable)
        os.chmod(program, stat.S_IRWXU)
        path = os.environ["PATH"]
        self.addCleanup(os.environ.__setitem__, "PATH", path)
        os.environ["PATH"] = self.folder.name + ":" + path
        self.qemu = qemu.Qemu("some", self.folder.name + "/log", [])
        self.addCleanup(self.qemu.end)

    def test_a_command_is_answered_whatever_comes_in_between(self):
        self.assertEqual(self.qemu.command("cont", max_bandwidth=3), {"max-bandwidth": 3})

    def test_a_command_that_fails_says_why(self):
        with self.assertRaisesRegex(LabError, "some: unknown: never heard of it"):
            self.qemu.command("unknown")

    def test_an_end_is_noticed_and_its_last_words_told(self):
        with self.assertRaisesRegex(LabError, "had enough"):
            self.qemu.command("quit")

    def test_memory_is_handed_over(self):
        memory = qemu.Memory(1)
        self.addCleanup(memory.close)
        other = qemu.Qemu("other", self.folder.name + "/log2", [], memory=memory)
        self.addCleanup(other.end)
        path = [word for word in memory.arguments() if "mem-path" in word][0].split("mem-path=")[1].split(",")[0]
        self.assertEqual(os.stat("/proc/%d/fd/%s" % (other.process.pid, path.rpartition("/")[2])).st_size, 1 << 20)

    def test_nothing_is_left_after_the_end(self):
        pid = self.qemu.process.pid
        self.qemu.end()
        self.assertFalse(os.path.exists("/proc/%d" % pid))


# Allocates in one way, as many times as it is told; has the first calls after `tell` told.
ALLOCATOR = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void *volatile kept;

int main(int count, char **words) {
    char path[4096];
    const char *way = words[1];
    if (count != 3) return 64;
    int times = atoi(words[2]);
    if (!strcmp(way, "tell")) {
        snprintf(path, sizeof path, "%s/%d", getenv("REMUSD_BENCH_ALLOCATIONS"), (int)getpid());
        int file = open(path, O_RDWR);
        int64_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (page == MAP_FAILED) return 1;
        page[2] = 2;
        way = "malloc";
    }
    for (int i = 0; i < times; i++) {
        void *made = NULL;
        if (!strcmp(way, "malloc")) made = malloc(77);
        else if (!strcmp(way, "calloc")) made = calloc(7, 11);
        else if (!strcmp(way, "realloc")) made = realloc(NULL, 77);
        else if (!strcmp(way, "reallocarray")) made = reallocarray(NULL, 7, 11);
        else if (!strcmp(way, "posix_memalign") && posix_memalign(&made, 64, 77)) return 1;
        else if (!strcmp(way, "aligned_alloc")) made = aligned_alloc(64, 77);
        else if (!strcmp(way, "memalign")) made = memalign(64, 77);
        else if (!strcmp(way, "valloc")) made = valloc(77);
        else if (!strcmp(way, "pvalloc")) made = pvalloc(77);
        else if (!strcmp(way, "strdup")) made = strdup("seven times eleven");
        if (!made) return 1;
        memset(made, 1, 1);
        kept = made;
        free(kept);
    }
    return 0;
}
"""


class AllocationTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        packages.need_packages({"cc": "gcc"}, packages.FILES, "bench_test")
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        cls.library = os.path.join(cls.folder, "allocations")
        cls.program = os.path.join(cls.folder, "allocator")
        source = cls.program + ".c"
        with open(source, "w") as out:
            out.write(ALLOCATOR)
        flags = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")
        library = os.path.join(BENCH, "allocations.c")
        image.run("cc", *flags, "-rdynamic", "-o", cls.library, library, "-shared", "-fPIC")
        image.run("cc", *flags, "-fno-builtin", "-o", cls.program, source)

    def counted(self, way, times):
        """Calls and bytes that were counted, and what was said of them."""
        with tempfile.TemporaryDirectory(dir=self.folder) as counts:
            more = {"LD_PRELOAD": self.library, "REMUSD_BENCH_ALLOCATIONS": counts}
            answer = subprocess.run(
                [self.program, way, str(times)], env=dict(os.environ, **more), stderr=subprocess.PIPE, check=True
            )
            (name,) = os.listdir(counts)
            with open(os.path.join(counts, name), "rb") as page:
                return struct.unpack("<QQ", page.read(16)) + (answer.stderr.decode(),)

    def test_each_call_is_counted_once_with_its_bytes(self):
        calls, size, _ = self.counted("malloc", 0)
        ways = ("malloc", "calloc", "realloc", "reallocarray", "posix_memalign", "aligned_alloc", "memalign", "valloc", "pvalloc")
        for way in ways:
            self.assertEqual(self.counted(way, 100), (calls + 100, size + 7700, ""), way)
        # What a library allocates counts too.
        self.assertEqual(self.counted("strdup", 100), (calls + 100, size + 1900, ""))

    def test_as_many_as_are_asked_for_are_told_with_where_they_come_from(self):
        told = self.counted("tell", 5)[2]
        self.assertEqual(told.count("allocation of 77 bytes in allocator of process"), 2)
        self.assertIn(self.program, told)

    def test_without_a_folder_nothing_is_different(self):
        environment = {name: value for name, value in os.environ.items() if name != "REMUSD_BENCH_ALLOCATIONS"}
        environment["LD_PRELOAD"] = self.library
        subprocess.run([self.program, "malloc", "5"], env=environment, check=True)


class ChoiceTests(unittest.TestCase):
    def test_workloads_are_chosen_by_name(self):
        self.assertEqual(record.chosen([]), list(record.WORKLOADS))
        self.assertEqual(record.chosen(["web"]), ["web"])
        with self.assertRaises(UsageError):
            record.chosen(["wob"])


class MigrationTests(unittest.TestCase):
    def test_the_memory_has_as_many_zero_pages_as_asked_for_and_is_always_the_same(self):
        loader = importlib.machinery.SourceFileLoader("qemu_migration", os.path.join(BENCH, "qemu-migration.py"))
        migration = importlib.util.module_from_spec(importlib.util.spec_from_loader("qemu_migration", loader))
        loader.exec_module(migration)
        contents = []
        for _ in range(2):
            out = io.BytesIO()
            migration.fill(out, 1000, 60)
            contents.append(out.getvalue())
        pages = [contents[0][at : at + PAGE] for at in range(0, len(contents[0]), PAGE)]
        self.assertEqual(len(pages), 1000)
        self.assertAlmostEqual(pages.count(bytes(PAGE)), 600, delta=10)
        self.assertEqual(contents[0], contents[1])


if __name__ == "__main__":
    unittest.main(verbosity=1)
