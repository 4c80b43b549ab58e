"""Runs the tests on a Windows Python, which Wine may run, and says how many passed and why others were skipped.

    python tests/windows/run.py [--quick] [PATH ...]

HARNESS_WINDOWS_PYTHON names the interpreter: a command that takes Python's arguments and has this project's packages.
Each folder of tests is a process of its own, so that the memory of one is not that of all. What it printed is in
build/windows/, and PYTEST_ADDOPTS='-m "not slow"' leaves the long tests out. Wine is not Windows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
INTERPRETER = "HARNESS_WINDOWS_PYTHON"
QUICK = (
    "tests/harness/platform",
    "tests/harness/test_fileio.py",
    "tests/harness/orchestration/process",
    "tests/harness/results/test_status.py",
    "tests/harness/data/store",
    "tests/windows/test_smoke.py",
)
"""What differs most between systems: files, processes, pipes, and one whole run."""
LEFT_OUT = ("tests/docs", "tests/windows")
"""Of the whole suite: pages are the same on every system."""


@dataclass
class Outcome:
    """What became of some tests. skipped: how many, by reason."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def add(self, other: Outcome) -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def groups() -> list[str]:
    """Folders of tests, and files beside folders, that together are the suite."""
    tests = ROOT / "tests"
    found = {path.parent for path in tests.rglob("test_*.py")}
    names = sorted(path.relative_to(ROOT).as_posix() for path in found - {tests, tests / "harness", tests / "methods"})
    files = [path for folder in (tests, tests / "harness", tests / "methods") for path in folder.glob("test_*.py")]
    nested = [name for name in names if not any(name.startswith(f"{other}/") for other in names)]
    every = [*nested, *sorted(path.relative_to(ROOT).as_posix() for path in files)]
    return [name for name in every if name not in LEFT_OUT]


def run_group(interpreter: str, name: str, more: list[str]) -> Outcome:
    """The outcome of one folder or file. A folder in which a test ends the interpreter is run file by file."""
    outcome = run_once(interpreter, name, more)
    if outcome is not None:
        return outcome
    files = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / name).rglob("test_*.py"))]
    total = Outcome()
    for file in files or [name]:
        found = run_once(interpreter, file, more) if files else None
        total.add(found or Outcome(failed=[f"{file}: pytest ended without a report"]))
    return total


def run_once(interpreter: str, name: str, more: list[str]) -> Outcome | None:
    """The outcome of one process of pytest; None where it ended without a report."""
    report = Path("build", "windows", f"{name.replace('/', '-')}.xml")
    (ROOT / report).parent.mkdir(parents=True, exist_ok=True)
    (ROOT / report).unlink(missing_ok=True)
    words = ["-m", "pytest", name, "-q", "-p", "no:cacheprovider", f"--junitxml={report.as_posix()}", *more]
    status, printed = finished([interpreter, *words])
    (ROOT / report).with_suffix(".log").write_text(printed, "utf-8")
    outcome = read_report(ROOT / report) if (ROOT / report).is_file() else None
    if outcome is None:
        # what ended the interpreter is said first
        print(f"{name}: pytest ended with status {status}\n{printed[:3000]}")
    elif outcome.failed:
        print(printed[-6000:])
    return outcome


def finished(command: list[str]) -> tuple[int, str]:
    """Exit status of a process and what it printed. Processes that it has left behind are not waited for."""
    # Wine's Python wants pipes for all three streams, and what a test has left behind holds them open
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    said: list[bytes] = []
    reader = threading.Thread(target=said.extend, args=(process.stdout,), daemon=True)
    reader.start()
    status = process.wait()
    reader.join(5)
    return status, b"".join(said).decode("utf-8", "replace")


def read_report(path: Path) -> Outcome:
    """The outcome in pytest's file for JUnit."""
    outcome = Outcome()
    for case in ElementTree.parse(path).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed.append(name)
        elif skipped is not None:
            outcome.skipped[skipped.get("message", "").removeprefix("Skipped: ")] += 1
        else:
            outcome.passed += 1
    return outcome


def main() -> int:
    """Run what was asked for. Returns 1 where a test failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only what differs most between systems")
    parser.add_argument("paths", nargs="*", help="folders or files of tests; all where none is named")
    options, more = parser.parse_known_args()
    interpreter = os.environ.get(INTERPRETER, "")
    if not interpreter:
        print(f"skipped: {INTERPRETER} names no Windows Python")
        return 0
    total = Outcome()
    for name in QUICK if options.quick else options.paths or groups():
        begin = time.monotonic()
        outcome = run_group(interpreter, name, more)
        counts = f"{outcome.passed} passed, {sum(outcome.skipped.values())} skipped, {len(outcome.failed)} failed"
        print(f"{name}: {counts} in {time.monotonic() - begin:.0f} s", flush=True)
        total.add(outcome)
    print(f"\n{total.passed} passed, {sum(total.skipped.values())} skipped, {len(total.failed)} failed")
    for reason, count in total.skipped.most_common():
        print(f"skipped {count}: {reason}")
    for name in total.failed:
        print(f"failed: {name}")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
