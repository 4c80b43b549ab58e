"""Runs the long form of the reliability tests and writes results/reliability.md.

python benchmarks/reliability.py            200 rounds of chaos, every fault at every write, 10,000 inputs a test
python benchmarks/reliability.py --inputs 2000    fewer inputs, which take most of the time
python benchmarks/reliability.py --short    as in the test suite
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from harness.fileio import make_folder, write_text_atomic
from harness.monitoring.machine import git_commit, machine_facts, utc_now

ROOT = Path(__file__).parents[1]
LONG = {"HARNESS_CHAOS_ROUNDS": "200", "HARNESS_ALL_FAULTS": "1"}
INPUTS = 10_000
TESTS = (
    "tests/harness/orchestration",
    "tests/harness/results/test_io.py",
    "tests/harness/training/test_checkpoint.py",
    "tests/harness/training/test_checkpoint_files.py",
    "tests/harness/data/readers/test_fuzz_readers.py",
    "tests/harness/data/readers/test_fuzz_annotation_files.py",
    "tests/harness/evaluation/test_prediction_file.py",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="as in the test suite")
    parser.add_argument("--inputs", type=int, default=INPUTS, help="mutated inputs for each test of a reader")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "reliability.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        figures = Path(name) / "figures.jsonl"
        long = {} if options.short else {**LONG, "HARNESS_FUZZ": str(options.inputs)}
        environment = {**os.environ, **long, "HARNESS_FIGURES": str(figures)}
        tests = [sys.executable, "-m", "pytest", "-q", "--timeout", "7200", *TESTS]
        code = subprocess.run(tests, cwd=ROOT, env=environment, check=False).returncode
        lines = figures.read_text(encoding="utf-8").splitlines() if figures.is_file() else []
    command = " ".join(["python benchmarks/reliability.py", *sys.argv[1:]])
    make_folder(options.out.parent)
    write_text_atomic(options.out, page(command, code, [json.loads(line) for line in lines]))
    print(f"wrote {options.out}")
    return code


def page(command: str, code: int, figures: list[dict[str, Any]]) -> str:
    """The figures as Markdown, with what made them. code: pytest's exit status; figures: as the fixture writes them."""
    machine = machine_facts()
    return "\n".join(
        [
            "# Reliability",
            "",
            f"Made by `{command}` on {utc_now()[:10]}, commit {git_commit() or 'unknown'}.",
            f"Machine: {machine['cpu']}, {machine['cores_usable']} cores, {machine['memory'] / 2**30:.0f} GiB, "
            f"{machine['system']}, {machine['python']}.",
            f"All checks {'passed' if code == 0 else 'did NOT pass'}.",
            "",
            "## Kills, faults and misbehaviour",
            "",
            "A fast stand-in for training, and small torch models, run by the real plan, scheduler, worker and files.",
            "*lost*: rows that are missing afterwards, or differ from those of an undisturbed run. *doubled*:",
            "duplicate rows.",
            "",
            "| What | rounds | of which | lost | doubled |",
            "|---|---:|---|---:|---:|",
            *_rounds([one for one in figures if "rounds" in one]),
            "",
            "## Mutated inputs",
            "",
            "Each is read correctly, or refused with a one-line error of the harness. A traceback, a hang or too much",
            "memory fails the check.",
            "",
            "| Reader of | inputs | refused | read |",
            "|---|---:|---:|---:|",
            *_inputs([one for one in figures if "inputs" in one]),
            "",
        ]
    )


def _rounds(figures: list[dict[str, Any]]) -> list[str]:
    total: Counter[str] = Counter()
    lines = []
    for one in figures:
        rest = {name: value for name, value in one.items() if name not in ("name", "rounds", "lost", "doubled")}
        of_which = ", ".join(f"{value:,} {name}" for name, value in rest.items())
        lines.append(f"| {one['name']} | {one['rounds']:,} | {of_which} | {one['lost']:,} | {one.get('doubled', '')} |")
        total.update({name: one.get(name, 0) for name in ("rounds", "lost", "doubled")})
    return [*lines, f"| all | {total['rounds']:,} | | {total['lost']:,} | {total['doubled']:,} |"]


def _inputs(figures: list[dict[str, Any]]) -> list[str]:
    total: Counter[str] = Counter()
    lines = []
    for one in figures:
        total.update(inputs=one["inputs"], refused=one["refused"])
        lines.append(_input(one["name"], one["inputs"], one["refused"]))
    return [*lines, _input("all", total["inputs"], total["refused"])]


def _input(name: str, inputs: int, refused: int) -> str:
    return f"| {name} | {inputs:,} | {refused:,} | {inputs - refused:,} |"


if __name__ == "__main__":
    sys.exit(main())
