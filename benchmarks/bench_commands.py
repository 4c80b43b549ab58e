"""The command line as whole processes: --help, methods, and table over 1,000 records.

    pytest benchmarks/bench_commands.py --benchmark-only -s

The records are those of a run of results/, copied under changed names, seeds and keys by the project's own writer: 50
methods with 20 seeds each. BENCH_ROUNDS: times that each command runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from speed_rows import format_rows, row

from harness.fileio import make_folder
from harness.results.io import RECORD, TRIALS, read_records, write_record

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "results" / "synthetic"
METHODS, SEEDS = 50, 20
TARGETS = {"--help": 0.3, "methods": 1.0}


def run(arguments: Sequence[str]) -> str:
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def measure(benchmark: BenchmarkFixture, work: str, arguments: Sequence[str], target: float) -> str:
    """The median of the command's whole processes; what it printed."""
    printed = benchmark.pedantic(
        run, (arguments,), rounds=int(os.environ.get("BENCH_ROUNDS", 9)), iterations=1, warmup_rounds=1
    )
    rows = [row(work, benchmark.stats.stats.median, "s", target)]
    benchmark.extra_info["rows"] = rows
    print(format_rows(rows))
    return str(printed)


@pytest.mark.parametrize("argument", list(TARGETS))
def test_start(benchmark: BenchmarkFixture, argument: str) -> None:
    printed = measure(benchmark, f"python -m harness {argument}", [argument], TARGETS[argument])
    assert ("Verbs" if argument == "--help" else "mask_rcnn") in printed


@pytest.fixture(scope="module")
def many_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("many")
    records = [record for record in read_records(MODEL)[0] if record.status == "ok"]
    for k in range(METHODS):
        for seed in range(SEEDS):
            record = records[k % len(records)].model_copy(
                update={"method": f"{records[k % len(records)].method}{k}", "seed": seed, "key": f"{k:08x}{seed:08x}"}
            )
            folder = run_dir / TRIALS / f"{record.method}--seed{seed}"
            make_folder(folder)
            write_record(folder / RECORD, record)
    return run_dir


@pytest.mark.parametrize("form", ["md", "json"])
def test_table(benchmark: BenchmarkFixture, many_records: Path, form: str) -> None:
    work = f"table --format {form} over {METHODS * SEEDS:,} records"
    printed = measure(benchmark, work, ["table", str(many_records), "--format", form], 2.0)
    assert printed.count("mask_rcnn") >= METHODS // 10
