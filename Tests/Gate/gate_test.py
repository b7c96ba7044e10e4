"""For scripts/test: what scripts/quality-gate says of Markdown links, and of Swift beside the rooms.

Usage: python3 Tests/Gate/gate_test.py
"""

import importlib.machinery
import importlib.util
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts", "quality-gate")


def load():
    """The gate, anew: it keeps its findings in itself."""
    loader = importlib.machinery.SourceFileLoader("quality_gate", SCRIPT)
    gate = importlib.util.module_from_spec(importlib.util.spec_from_loader("quality_gate", loader))
    loader.exec_module(gate)
    return gate


class LinkTests(unittest.TestCase):
    def findings(self, text, name="README.md", **others):
        """What the gate finds in a file with this text, beside others (NAME_md=TEXT, in docs/)."""
        gate = load()
        with tempfile.TemporaryDirectory() as root:
            gate.ROOT = root
            os.mkdir(os.path.join(root, "docs"))
            for other, content in others.items():
                with open(os.path.join(root, "docs", other.replace("_", ".")), "w") as file:
                    file.write(content)
            with open(os.path.join(root, name), "w") as file:
                file.write(text)
            gate.check_links(name, text.split("\n"))
        return gate.findings

    def test_good_links_are_quiet(self):
        other = "# One page\n\n## What `status` says, and what to do\n\n## Failover at 3 a.m.\n\n## Twice\n\n## Twice\n"
        text = (
            "[a](docs/a.md) and [b](docs/a.md#what-status-says-and-what-to-do), [c](docs/a.md#failover-at-3-am)\n"
            "[d](docs/) [e](docs/a.md#twice-1) [f](https://example.org/none.md#x) [g](mailto:a@example.org) [h](#here)\n"
            "## Here\n[i]: docs/a.md\n[j](docs/a.md \"a title\")"
        )
        self.assertEqual(self.findings(text, a_md=other), [])

    def test_a_missing_file_is_named_with_its_line(self):
        self.assertEqual(
            self.findings("fine\n[a](docs/none.md)"), ["README.md:2: a link to a file that is not there: docs/none.md"]
        )

    def test_a_link_is_relative_to_its_own_file(self):
        self.assertEqual(self.findings("[a](b.md) [c](../README.md)", name="docs/a.md", b_md=""), [
            "docs/a.md:1: a link to a file that is not there: ../README.md"
        ])

    def test_a_missing_heading_is_found(self):
        self.assertEqual(
            self.findings("[a](#nowhere) [b](docs/a.md#one-page)", a_md="# Another page\n```\n# One page\n```\n"),
            [
                "README.md:1: a link to a heading that is not there: #nowhere",
                "README.md:1: a link to a heading that is not there: docs/a.md#one-page",
            ],
        )

    def test_the_outside_of_the_project_is_no_target(self):
        self.assertEqual(len(self.findings("[a](../../etc/passwd) [b](/etc/passwd)")), 2)

    def test_code_has_no_links(self):
        self.assertEqual(self.findings("`[a](none.md)` ``[b](none.md)``\n```text\n[c](none.md)\n```\n"), [])


class SwiftTests(unittest.TestCase):
    TEXT = "let a = b!\n/// No reason.\nfinal class C: @unchecked Sendable {}"

    def findings(self, path):
        gate = load()
        gate.check_swift(path, self.TEXT.split("\n"))
        return gate.findings

    def test_a_package_in_bench_is_held_to_the_rules(self):
        self.assertEqual(
            self.findings("bench/some/Sources/some/C.swift"),
            [
                "bench/some/Sources/some/C.swift:1: no force unwrap: guard, or say why it cannot be nil with preconditionFailure",
                "bench/some/Sources/some/C.swift:3: @unchecked Sendable without 'Unchecked: why' in its doc comment",
            ],
        )

    def test_tests_may_unwrap(self):
        self.assertEqual(self.findings("Tests/SomeTests/C.swift"), [])


if __name__ == "__main__":
    unittest.main()
