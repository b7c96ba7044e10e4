"""For scripts/test: what of the lab (lab/) can be shown without Xen.

Usage: python3 Tests/Lab/lab_test.py
"""

import io
import os
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from contextlib import redirect_stdout

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lab"))

import bench  # noqa: E402
import cpio  # noqa: E402
import processes  # noqa: E402
import runner  # noqa: E402
import switch  # noqa: E402
import watcher  # noqa: E402
from failure import LabError, UsageError  # noqa: E402
from kit import Kit, Skip  # noqa: E402


class MemoryPort(switch.Port):
    """A port of the switch that keeps what it is to send."""

    def __init__(self, name):
        super().__init__(name)
        self.sent = []

    def send(self, frame):
        self.sent.append(frame)


def frame(to, sender, size=60):
    return bytes([2, 0, 0, 0, 0, to] if to else [255] * 6) + bytes([2, 0, 0, 0, 0, sender]) + bytes(size - 12)


class SwitchTests(unittest.TestCase):
    def setUp(self):
        self.ports = [MemoryPort(name) for name in ("alpha", "beta", "client")]
        self.segment = switch.Segment(self.ports)

    def arrive(self, port, data, now=0.0):
        self.segment.arrived(self.ports[port], data, now)
        for each in self.ports:
            each.flush(now)
        return [len(each.sent) for each in self.ports]

    def test_what_it_does_not_know_goes_everywhere_and_what_it_knows_one_way(self):
        self.assertEqual(self.arrive(0, frame(9, 1)), [0, 1, 1])
        self.assertEqual(self.arrive(1, frame(1, 2)), [1, 1, 1])

    def test_a_guest_that_announces_itself_elsewhere_is_reached_there(self):
        self.arrive(0, frame(0, 5))
        self.arrive(1, frame(0, 5))
        before = [len(each.sent) for each in self.ports]
        after = self.arrive(2, frame(5, 7))
        self.assertEqual([b - a for a, b in zip(before, after)], [0, 1, 0])

    def test_a_one_way_cut_loses_what_that_port_sends(self):
        self.segment.order({"cut": ["alpha"]})
        self.assertEqual(self.arrive(0, frame(0, 1)), [0, 0, 0])
        self.assertEqual(self.arrive(1, frame(0, 2)), [1, 0, 1])
        self.segment.order({"cut": []})
        self.assertEqual(self.arrive(0, frame(0, 1)), [1, 1, 2])

    def test_a_slow_link_lets_a_frame_go_when_it_is_due_and_drops_what_does_not_fit(self):
        self.segment.order({"slow": 8000})  # A thousand bytes a second.
        self.assertEqual(self.arrive(0, frame(0, 1, 500), now=10.0), [0, 0, 0])
        for _ in range(5):
            self.segment.arrived(self.ports[0], frame(0, 1, 500), 10.0)
        self.ports[1].flush(10.6)
        self.assertEqual(len(self.ports[1].sent), 1)
        self.assertGreater(self.ports[1].dropped, 0)


class HistoryTests(unittest.TestCase):
    def setUp(self):
        self.history = watcher.History()

    def beacon(self, number, kind=0x88B5, tag=False):
        self.history.frame(bytes(12) + struct.pack("!H", kind) + b"xx" + watcher.MARK + struct.pack("!Q", number), tag)

    def segment(self, sequence, data, acknowledged=0, flags=0x10, padding=b""):
        tcp = struct.pack("!HHIIBBHHH", 7001, 5000, sequence, acknowledged, 5 << 4, flags, 0, 0, 0) + data
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, bytes(4), bytes(4))
        self.history.frame(bytes(12) + b"\x08\x00" + ip + tcp + padding)

    def test_numbers_that_rise_are_one_history_and_some_may_be_lost(self):
        for number in (1, 2, 5, 9):
            self.beacon(number)
            self.beacon(number, tag=True)
        self.assertIsNone(self.history.broken)
        self.assertEqual(self.history.seen, {"unknown type": 4, "VLAN": 4})

    def test_a_number_that_comes_again_or_is_lower_is_another_history(self):
        for again in (5, 3):
            self.history = watcher.History()
            self.beacon(5)
            self.beacon(again)
            self.assertEqual(self.history.broken, "unknown type: number %d after 5" % again)

    def test_what_is_sent_again_must_be_the_same_bytes(self):
        start = 0xFFFFFFFE  # The sequence wraps.
        self.segment(start, b"", flags=0x02)
        self.segment(0xFFFFFFFF, b"1\n", padding=bytes(4))
        self.segment(1, b"2\n")
        self.segment(0xFFFFFFFF, b"1\n2\n3\n")
        self.assertIsNone(self.history.broken)
        self.segment(1, b"4\n")
        self.assertIn("other bytes", self.history.broken)

    def test_an_acknowledgement_is_never_taken_back(self):
        self.segment(1, b"", acknowledged=100)
        self.segment(1, b"", acknowledged=100)
        self.assertIsNone(self.history.broken)
        self.segment(1, b"", acknowledged=99)
        self.assertIn("takes back", self.history.broken)


class ProcessTests(unittest.TestCase):
    def test_a_recorded_process_is_found_and_ended(self):
        with tempfile.TemporaryDirectory() as folder:
            record = processes.Record(folder + "/pid")
            child = record.start(["sleep", "60"], folder + "/log")
            self.assertEqual(processes.Record(folder + "/pid").pid(), child.pid)
            record.kill()
            self.assertIsNone(processes.start_time(child.pid))
            self.assertFalse(os.path.exists(folder + "/pid"))
            child.returncode = -9  # Taken in by kill() already.

    def test_another_process_with_the_same_id_is_left_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(folder + "/pid", "w") as out:
                out.write('{"pid": %d, "started": 1}' % os.getpid())
            self.assertIsNone(processes.Record(folder + "/pid").pid())


class ArchiveTests(unittest.TestCase):
    def test_another_program_reads_the_archive(self):
        with tempfile.TemporaryDirectory() as folder:
            os.makedirs(folder + "/tree/sub")
            with open(folder + "/tree/sub/odd", "w") as out:
                out.write("12345")
            os.symlink("sub/odd", folder + "/tree/link")
            cpio.write_archive(folder + "/tree", folder + "/archive")
            with open(folder + "/archive", "rb") as archive:
                data = archive.read()
        names = []
        while data[:6] == b"070701":
            field = [int(data[6 + 8 * i : 14 + 8 * i], 16) for i in range(13)]
            name = data[110 : 109 + field[11]].decode()
            begin = (110 + field[11] + 3) // 4 * 4
            names.append((name, field[1] & 0o170000, data[begin : begin + field[6]]))
            data = data[(begin + field[6] + 3) // 4 * 4 :]
        expected = [("link", 0o120000, b"sub/odd"), ("sub", 0o040000, b""), ("sub/odd", 0o100000, b"12345")]
        self.assertEqual(sorted(names[:-1]), expected)
        self.assertEqual((names[-1][0], data), ("TRAILER!!!", b""))


class StillLab:
    """A lab in which nothing runs."""

    hosts = {}
    alpha = beta = None

    class links:
        heal = staticmethod(lambda: None)


class MemoryHost:
    """A host that keeps what it is told to run. It is its own record: each time it has power, another process runs it."""

    name = "alpha"

    def __init__(self):
        self.record, self.process, self.told = self, 100, []

    def pid(self):
        return self.process

    def lose_power_and_start_again(self):
        self.process += 1

    def state(self):
        return "on"

    def run(self, command, **options):
        self.told.append(command)
        return subprocess.CompletedProcess(command, 0, stdout="219\n")


class MemoryLab(StillLab):
    """A lab of one such host."""

    def __init__(self):
        self.alpha = self.beta = MemoryHost()
        self.hosts = {"alpha": self.alpha}


class TidyTests(unittest.TestCase):
    def setUp(self):
        self.lab = MemoryLab()
        self.kit = Kit(self.lab, lambda text: None)
        self.kit.start(self.lab.alpha, "standby", "remusd standby")

    def test_what_a_case_started_is_ended(self):
        self.kit.tidy()
        self.assertIn("kill -9 219;", self.lab.alpha.told[-1])

    def test_after_a_loss_of_power_another_process_has_the_number_and_is_left_alone(self):
        self.lab.alpha.lose_power_and_start_again()
        self.kit.tidy()
        self.assertNotIn("219", self.lab.alpha.told[-1])


class BenchTests(unittest.TestCase):
    SAID = """cpu MHz\t\t: 2000.000
gap 20000000
gap 40000000
total 132000000000
[   10.000000] Freezing user space processes ... (elapsed 0.001 seconds) done.
[   10.002000] Freezing remaining freezable tasks ... (elapsed 0.001 seconds) done.
[   10.013000] Restarting tasks ... done.
[   11.000000] Freezing user space processes ... (elapsed 0.001 seconds) done.
[   11.002000] Freezing remaining freezable tasks ... (elapsed 0.001 seconds) done.
[   11.013000] Restarting tasks ... done.
"""

    def test_all_that_a_cell_has_is_of_the_clock_loops_life(self):
        peer = bench.read(self.SAID, None)
        self.assertEqual((peer.lost_ms, peer.longest_ms, peer.wall), (30.0, 20.0, 66.0))
        self.assertEqual((peer.checkpoints, peer.rate), (2, 2 / 66))
        self.assertAlmostEqual(peer.each(0), 15)
        self.assertAlmostEqual(peer.freeze_ms, 3)
        self.assertAlmostEqual(peer.thaw_ms, 10)
        ours = bench.read(self.SAID, 4.0)
        self.assertEqual((ours.checkpoints, ours.rate), (264, 4.0))

    def test_a_loop_that_says_nothing_is_no_cell(self):
        with self.assertRaises(LabError):
            bench.read("clockloop: no memory\n", None)


class RunnerTests(unittest.TestCase):
    def results(self, limit, *actions):
        """What a run of such cases says and returns."""
        with redirect_stdout(io.StringIO()) as said:
            run = runner.Run(StillLab, time.monotonic(), limit)
            for number, action in enumerate(actions):
                run.one(runner.Case("case%d" % number, action, True, 5))
            code = run.finish()
        subprocess.run(["rm", "-rf", run.logs])
        return said.getvalue().splitlines(), code

    def skip(self, kit):
        raise Skip("not here")

    def fail(self, kit):
        assert 1 == 2, "one is not two"

    def test_each_outcome_is_named_and_counted(self):
        lines, code = self.results(60, lambda kit: None, self.fail, self.skip)
        self.assertEqual(lines[-1], "1 passed, 1 failed, 1 skipped")
        self.assertIn("case1: one is not two", lines[1])
        self.assertIn("case2: not here", lines[2])
        self.assertEqual(code, 1)

    def test_a_case_that_there_was_no_time_for_is_no_success(self):
        lines, code = self.results(0, lambda kit: None)
        self.assertEqual(lines[-1], "0 passed, 0 failed, 1 skipped")
        self.assertEqual(code, 1)

    def test_a_run_goes_on_from_a_case(self):
        cases = [runner.Case(name, None, True, 5) for name in ("one", "two", "three")]
        before, runner.CASES[:] = list(runner.CASES), cases
        try:
            chosen = runner.choose(*runner.parse(["--from", "two"]))
            self.assertEqual([each.name for each in chosen], ["two", "three"])
            with self.assertRaises(UsageError):
                runner.choose(*runner.parse(["--from", "four"]))
        finally:
            runner.CASES[:] = before

    def test_a_case_that_never_ends_is_ended(self):
        action = lambda kit: time.sleep(60)  # noqa: E731
        with redirect_stdout(io.StringIO()) as said:
            run = runner.Run(StillLab, time.monotonic(), 60)
            with self.assertRaises(runner.OutOfTime):
                runner.bounded(1, lambda: action(None))
            run.finish()
        self.assertIn("0 passed", said.getvalue())


if __name__ == "__main__":
    unittest.main(verbosity=1)
