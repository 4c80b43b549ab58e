"""Trials side by side: what `--jobs 2` costs each of them, and what it gains.

    pytest benchmarks/bench_jobs.py --benchmark-only -s

Both sides are whole processes on the first two cores that this one may use. One trial after the other has one of them;
two at a time have one each. BENCH_TRIALS: trials in place of 4. BENCH_WAVES: of how many waves of BENCH_SECONDS
seconds in place of 3 of 60 the efficiency is taken. Linux only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from speed_rows import format_rows, row

from harness.results.io import read_records
from harness.results.schema import RunRecord

ROOT = Path(__file__).parents[1]
TRIALS = int(os.environ.get("BENCH_TRIALS", 4))
WAVES = int(os.environ.get("BENCH_WAVES", 3))
SECONDS = int(os.environ.get("BENCH_SECONDS", 60))
SLOTS = 2
WORDS = ("--methods", "mask_rcnn", "--preset", "smoke", "--data", "synthetic:images=24,size=256", "--device", "cpu")


@pytest.fixture
def cores() -> list[int]:
    if sys.platform != "linux" or shutil.which("taskset") is None:
        pytest.skip("cores are given to processes by taskset, on Linux")
    found = psutil.Process().cpu_affinity()
    if len(found) < SLOTS:
        pytest.skip(f"{SLOTS} cores are needed")
    return found[:SLOTS]


def run(folder: Path, trials: int, budget: str, cores: list[int]) -> tuple[float, list[RunRecord]]:
    """Seconds of a whole `run`, one trial on each of these cores at a time, and its records."""
    words = [*WORDS, "--seeds", str(trials), "--budget", budget, "--jobs", str(len(cores)), "--out", str(folder)]
    begin = time.perf_counter()
    # a process is pinned before Python starts, so that torch finds as many cores as it has
    pinned = ["taskset", "--cpu-list", ",".join(map(str, cores))]
    command = [*pinned, sys.executable, "-m", "harness", "run", "--quiet", *words]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begin
    records, problems = read_records(folder)
    assert ([record.status for record in records], problems) == (["ok"] * trials, [])
    return seconds, records


def step_seconds(records: list[RunRecord]) -> float:
    """Median over trials of the median seconds of a step."""
    return float(np.median([record.cost.seconds_per_iteration for record in records]))


def report(benchmark: BenchmarkFixture, *rows: dict[str, object]) -> None:
    benchmark.extra_info["rows"] = list(rows)
    print(format_rows(rows))


@pytest.mark.timeout(3600)
def test_side_by_side(benchmark: BenchmarkFixture, tmp_path: Path, cores: list[int]) -> None:
    alone, one_core = run(tmp_path / "alone", TRIALS, "200it", cores[:1])
    together, two_cores = benchmark.pedantic(run, (tmp_path / "together", TRIALS, "200it", cores), rounds=1)
    slower = step_seconds(two_cores) / step_seconds(one_core)
    assert all(record.machine["sharing"] for record in two_cores), "their times are marked"
    report(
        benchmark,
        row("a step beside another trial, over one alone on a core", slower, "x", 1.05, note="marked in the table"),
        row(
            f"{TRIALS} trials: two at a time; one after the other",
            3600 * TRIALS / together,
            "trials/h",
            peer=3600 * TRIALS / alone,
            more_is_better=True,
        ),
    )


@pytest.mark.timeout(3600)
def test_waves(benchmark: BenchmarkFixture, tmp_path: Path, cores: list[int]) -> None:
    trials = SLOTS * WAVES
    seconds, records = benchmark.pedantic(run, (tmp_path / "run", trials, f"{SECONDS}s", cores), rounds=1)
    busy = sum(record.cost.train_seconds + (record.cost.evaluation_seconds or 0) for record in records)
    note = f"{trials} trials, {busy:.0f} s of training and evaluation in {seconds:.0f} s"
    work = f"{WAVES} waves of {SECONDS} s trials: time of {SLOTS} slots that is neither training nor evaluation"
    report(benchmark, row(work, 100 * (1 - busy / (SLOTS * seconds)), "%", 5.0, note=note))
