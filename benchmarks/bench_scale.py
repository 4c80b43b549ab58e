"""Thousands of trials: the table of 10,000 records, a plan of 10,000 that resumes, what 1,000 trials cost the parent.

    pytest benchmarks/bench_scale.py --benchmark-only -s

The run of 10,000 has the methods of results/synthetic, each with as many seeds. It is planned as `run` plans it, and
its records are those of results/synthetic under the names and keys of that plan. `table` and `run` are whole processes;
the same `run` finds every trial done. The 1,000 trials are those of the tests' fake worker, which does one step of a
millisecond; what counts is the processor time of the process that starts them, with leaderboards as a real run writes
them. BENCH_TRIALS: how many trials in place of 10,000 and 1,000, such as 100.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from speed_rows import format_rows, row

from harness.catalog import load_catalog
from harness.fileio import make_folder
from harness.orchestration.plan import Manifest
from harness.orchestration.request import RunRequest, find_contenders
from harness.platform.memory import peak_from_usage
from harness.results.io import RECORD, read_records, write_record

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "results" / "synthetic"
TRIALS = int(os.environ.get("BENCH_TRIALS", 10_000))
STARTED = int(os.environ.get("BENCH_TRIALS", 1_000))
MEBIBYTE = 2**20
PARENT = """
import resource, sys
from pathlib import Path
sys.path.insert(0, "tests/helpers")
from fake_worker import plan
from shared_fork_server import FAKE_SERVER
from harness.cli.reporters import make_reporter
from harness.orchestration.engines.local import LocalEngine, Slot
from harness.orchestration.run_options import RunOptions
from harness.orchestration.scheduler import run_plan
from harness.reporting.leaderboard import write_leaderboards

run_dir, seeds = Path(sys.argv[1]), int(sys.argv[2])
with FAKE_SERVER.launcher(["fake_worker"]) as launcher, make_reporter(run_dir, True, None, 1) as reporter:
    options = RunOptions(launcher=launcher)
    trials, engine = plan(["healthy"], seeds, "1it"), LocalEngine([Slot(launcher)])
    run_plan(trials, run_dir, options, reporter, write_leaderboards, engine)
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime)
"""
"""Starts so many trials one after the other, and prints the processor seconds of this process alone."""


@dataclass(frozen=True)
class Used:
    """What a process used. seconds: of the wall clock; cpu: seconds of processors; peak: bytes of memory."""

    seconds: float
    cpu: float
    peak: int


def measured(*words: str) -> Used:
    """What `python -m harness WORDS` uses. Its own processes count as far as it waits for them."""
    begin = time.perf_counter()
    command, unseen = [sys.executable, "-m", "harness", *words], subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=ROOT, stdout=unseen, stderr=unseen)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Used(time.perf_counter() - begin, used.ru_utime + used.ru_stime, peak_from_usage(used.ru_maxrss))


def typed(run_dir: Path) -> list[str]:
    """The words of the run."""
    methods = sorted({record.method for record in read_records(MODEL)[0]})
    words = ["run", "--methods", ",".join(methods), "--seeds", str(TRIALS // len(methods)), "--preset", "smoke"]
    return [*words, "--device", "cpu", "--quiet", "--out", str(run_dir)]


def planned(run_dir: Path) -> Manifest:
    """The plan that these words make."""
    words = typed(run_dir)
    request = RunRequest(methods=words[2], seeds=int(words[4]), preset=words[6], device=words[8], out=run_dir)
    preset = request.base_preset()
    return request.plan(find_contenders(request, load_catalog(), preset), preset, lambda note: None)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which every trial is done."""
    folder = tmp_path_factory.mktemp("scale") / "run"
    models = {record.method: record for record in read_records(MODEL)[0]}
    for trial in planned(folder).trials:
        own = {"key": trial.spec.key, "seed": trial.spec.seed, "budget": trial.spec.budget}
        make_folder(trial.folder(folder))
        write_record(trial.folder(folder) / RECORD, models[trial.spec.method].model_copy(update=own))
    return folder


def report(benchmark: BenchmarkFixture, *rows: dict[str, object]) -> None:
    benchmark.extra_info["rows"] = list(rows)
    print(format_rows(rows))


@pytest.mark.timeout(1800)
def test_table(benchmark: BenchmarkFixture, run_dir: Path) -> None:
    used = benchmark.pedantic(measured, ("table", str(run_dir)), rounds=1)
    work = f"table over {TRIALS:,} records"
    report(
        benchmark,
        row(work, used.cpu, "CPU s", 10.0, note=f"{used.seconds:.1f} s on the wall clock"),
        row(work, used.peak / MEBIBYTE, "MiB", 400e6 / MEBIBYTE),
    )


@pytest.mark.timeout(1800)
def test_resume(benchmark: BenchmarkFixture, run_dir: Path) -> None:
    begin, names = time.time(), sorted(path.name for path in (run_dir / "trials").iterdir())
    used = benchmark.pedantic(measured, typed(run_dir), rounds=1)
    work = f"a run of {TRIALS:,} trials, all done, resumes"
    report(benchmark, row(work, used.seconds, "s", 30.0, note=f"{used.cpu:.1f} CPU s"))
    assert sorted(path.name for path in (run_dir / "trials").iterdir()) == names
    assert all((run_dir / "trials" / name / RECORD).stat().st_mtime < begin for name in names), "nothing ran"


@pytest.mark.timeout(3600)
def test_parent(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path / "run"), str(STARTED)]

    def run() -> float:
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        return float(done.stdout.split()[-1])

    cpu = benchmark.pedantic(run, rounds=1)
    records, problems = read_records(tmp_path / "run")
    assert ([record.status for record in records], problems) == (["ok"] * STARTED, [])
    report(benchmark, row(f"the parent of {STARTED:,} trivial trials", cpu, "CPU s", 60.0))
