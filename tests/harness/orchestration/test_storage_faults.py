"""Each write of a run fails once, in each way. Afterwards the folder is good and the run can continue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fake_worker import WORKER, FaultyOs, doubled, plan, rows, run
from storage_faults import chosen

from harness.errors import HarnessError
from harness.orchestration.scheduler import ALL_OK, SOME_FAILED
from harness.platform.processes import KILL_SIGNAL
from harness.results.io import read_records

BUDGET = "20it"
OPERATIONS = {"write": 6, "fsync": 8, "replace": 4}
"""Writes of a worker: two checkpoints of two chunks, the curve, the record. Each has fsync on file and folder."""


@pytest.fixture
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert run(tmp_path / "quiet", plan(["healthy"], budget=BUDGET)) == ALL_OK
    return rows(tmp_path / "quiet")


def by_kind(cases: list[tuple[str, int, str]]) -> dict[str, int]:
    return dict(Counter(what for _, _, what in cases))


def goes_on(run_dir: Path, quiet: list[str]) -> tuple[int, int]:
    """Run again without a fault. Returns the numbers of lost and of duplicate rows."""
    if run_dir.is_dir():
        assert read_records(run_dir)[1] == []
    assert run(run_dir, plan(["healthy"], budget=BUDGET)) == ALL_OK
    assert rows(run_dir) == quiet
    assert not list(run_dir.rglob(".*.tmp"))
    return len(set(quiet) - set(rows(run_dir))), doubled(run_dir)


@pytest.mark.timeout(1800)
def test_faults_in_the_worker(tmp_path: Path, quiet: list[str], figures: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = chosen(OPERATIONS)
    lost = twice = 0
    for operation, count, what in cases:
        run_dir = tmp_path / f"{operation}-{count}-{what}"
        monkeypatch.setenv("HARNESS_FAULT", f"worker:{operation}:{count}:{what}")
        code = run(run_dir, plan(["healthy"], budget=BUDGET))
        (found,) = read_records(run_dir)[0]
        # If the fault comes after the record was renamed into place, the record is good and counts.
        assert (code, found.status) in ((SOME_FAILED, "interrupted"), (ALL_OK, "ok")), found.reason
        late = (operation, count) in (("fsync", 8), ("fsync", 7), ("replace", 4), ("write", 6))
        # Windows writes folders to disk by itself, so that the last fsyncs are not called there
        if not late and sys.platform != "win32":
            assert found.status == "interrupted"
        monkeypatch.delenv("HARNESS_FAULT")
        missing, more = goes_on(run_dir, quiet)
        lost, twice = lost + missing, twice + more
    figures("faults in the worker's writes", rounds=len(cases), **by_kind(cases), lost=lost, doubled=twice)


@pytest.mark.timeout(1800)
def test_faults_in_the_run(tmp_path: Path, quiet: list[str], figures: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = FaultyOs("none", 0, "none")
    with monkeypatch.context() as patch:
        counting.install(patch)
        assert run(tmp_path / "count", plan(["healthy"], budget=BUDGET)) == ALL_OK
    assert counting.counts["replace"] >= 5
    cases = chosen(counting.counts)
    lost = twice = 0
    for operation, count, what in cases:
        run_dir = tmp_path / f"{operation}-{count}-{what}"
        if what == "kill":
            environment = {
                **os.environ,
                "HARNESS_FAULT": f"run:{operation}:{count}:{what}",
                "HARNESS_FAKE_BUDGET": BUDGET,
            }
            process = subprocess.run([*WORKER, "run", str(run_dir), "healthy", "1"], env=environment, check=False)
            assert process.returncode in (-KILL_SIGNAL, signal.SIGTERM)
        else:
            with monkeypatch.context() as patch:
                FaultyOs(operation, count, what).install(patch)
                with pytest.raises(HarnessError, match="cannot write"):
                    run(run_dir, plan(["healthy"], budget=BUDGET))
        missing, more = goes_on(run_dir, quiet)
        lost, twice = lost + missing, twice + more
    figures("faults in the run's own writes", rounds=len(cases), **by_kind(cases), lost=lost, doubled=twice)


def test_a_finished_trial_keeps_nothing_of_a_killed_writer(tmp_path: Path) -> None:
    """Found by the long form of the tests: a run killed while it overwrote its worker's record."""
    assert run(tmp_path / "run", plan(["healthy"], budget=BUDGET)) == ALL_OK
    (folder,) = (tmp_path / "run" / "trials").iterdir()
    left = folder / ".record.json.0123abcd.tmp"
    left.write_text("{")
    before = rows(tmp_path / "run")
    assert run(tmp_path / "run", plan(["healthy"], budget=BUDGET)) == ALL_OK
    assert not left.exists()
    assert rows(tmp_path / "run") == before
