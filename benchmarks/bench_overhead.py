"""What the harness costs beside the work: wall time of a run outside training, prediction and scoring.

    pytest benchmarks/bench_overhead.py --benchmark-only -s

A real `python -m harness run` of METHODS with the quick preset and its budget, as a process; what its records say of
training and evaluation (Cost.train_seconds and evaluation_seconds) is taken off its wall time. Predicting ends where
the predictions are stored, as in bench_inference.py. BENCH_BUDGET: another budget; BENCH_ROUNDS: runs, of which the
median counts. The rest is also given by part: seconds in the workers, and those around them (the command's start,
reading the data, the plan, starting and ending processes, the table).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import our_side
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from speed_rows import format_rows, row

from harness.config.preset import load_preset
from harness.results.io import read_records

METHODS = ("mask_rcnn", "copy_paste")
BUDGET = os.environ.get("BENCH_BUDGET", load_preset("quick").budget)
PER_METHOD, SHARE = 3.0, 2.0


@dataclass(frozen=True)
class Overhead:
    """Seconds of one run, all methods together."""

    wall: float
    training: float
    evaluation: float
    workers: float

    @property
    def beside(self) -> float:
        return self.wall - self.training - self.evaluation

    @property
    def inside(self) -> float:
        """Of `beside`, what a worker's own clock saw."""
        return self.workers - self.training - self.evaluation


def one_run(out: Path) -> Overhead:
    folder = our_side.sartorius()
    data = ["--data", f"sartorius:{folder}"] if folder else []
    command = [sys.executable, "-m", "harness", "run", "--methods", ",".join(METHODS), *data]
    command += ["--preset", "quick", "--budget", BUDGET, "--device", our_side.DEVICE, "--out", str(out), "--quiet"]
    begin = time.perf_counter()
    subprocess.run(command, cwd=Path(__file__).parents[1], check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - begin
    records, problems = read_records(out)
    assert [record.status for record in records] == ["ok"] * len(METHODS), problems
    return Overhead(
        wall=wall,
        training=sum(record.cost.train_seconds for record in records),
        evaluation=sum(record.cost.evaluation_seconds or 0.0 for record in records),
        workers=sum(record.wall_seconds or 0.0 for record in records),
    )


@pytest.mark.timeout(3600)
def test_overhead(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    # from the second run on, the packed data set is in the cache
    our_side.images()
    runs: list[Overhead] = []
    rounds = int(os.environ.get("BENCH_ROUNDS", 1))
    benchmark.pedantic(lambda: runs.append(one_run(tmp_path / str(len(runs)))), rounds=rounds)
    typical = sorted(runs, key=lambda run: run.beside)[len(runs) // 2]
    each = typical.beside / len(METHODS)
    note = (
        f"{BUDGET} of training each: {typical.training:.1f} s of training and {typical.evaluation:.1f} s of prediction "
        f"and scoring in {typical.wall:.1f} s for {len(METHODS)} methods; beside them {typical.inside:.1f} s in the "
        f"workers and {typical.beside - typical.inside:.1f} s around them"
    )
    rows = [
        row("harness beside training, prediction and scoring, each method", each, "s", PER_METHOD, note=note),
        row("the same, of the wall time", 100 * typical.beside / typical.wall, "%", SHARE),
    ]
    benchmark.extra_info["rows"] = rows
    benchmark.extra_info["runs"] = [round(run.beside, 2) for run in runs]
    print(format_rows(rows))
