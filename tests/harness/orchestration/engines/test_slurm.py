"""Trials on a real SLURM cluster of three nodes, whose daemons these tests start and end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_worker import WORKER, RecordingReporter, doubled, plan, rows, run
from slurm_cluster import SlurmCluster, missing

from harness.errors import HarnessError
from harness.orchestration.attempts import read_attempts
from harness.orchestration.engines.slurm import SlurmEngine
from harness.orchestration.scheduler import ALL_OK, INTERRUPTED, SOME_FAILED
from harness.results.io import read_record

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "there is SLURM")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short, for the path of a socket
    try:
        with SlurmCluster(folder, max_array_size=5) as cluster:
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def on_the_cluster(cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    monkeypatch.setenv("PATH", cluster.environment["PATH"])
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))


@pytest.fixture(scope="module")
def quiet_rows(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("quiet")
    assert run(folder, plan(["healthy"], 8)) == ALL_OK
    return rows(folder)


def engine(run_dir: Path) -> SlurmEngine:
    return SlurmEngine(run_dir, poll_seconds=0.5)


def wait_until(there: Callable[[], object], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := there()):
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.1)
    return found


def running_on(run_dir: Path, node: str = "") -> str:
    """The name of a trial that runs on the node, and has a checkpoint."""
    for folder in (run_dir / "trials").glob("*"):
        if any(f"node {node}" in attempt.where for attempt in read_attempts(folder)) and list(folder.glob("*.ckpt")):
            return folder.name
    return ""


def job_of(run_dir: Path, name: str) -> str:
    return read_attempts(run_dir / "trials" / name)[-1].where.partition("job ")[2]


def test_all_ends_of_a_trial_are_its_row(tmp_path: Path) -> None:
    ends = {"healthy": "ok", "raises": "crash", "memory_error": "oom", "diverges": "diverged", "killed": "interrupted"}
    ends |= {"hangs": "timeout", "exits": "skipped"}
    manifest = plan(list(ends))
    skipped = manifest.trials[-1].model_copy(update={"skip_reason": "needs a package"})
    manifest = manifest.model_copy(update={"trials": (*manifest.trials[:-1], skipped)})
    reporter = RecordingReporter()
    how = {"grace": 0.5, "wall_limit": 15.0}
    assert run(tmp_path, manifest, reporter, engine=engine(tmp_path), **how) == SOME_FAILED
    found = {name: read_record(tmp_path / "trials" / f"{name}--seed0" / "record.json").status for name in ends}
    assert found == ends
    assert sum(what == "ended" for what, _ in reporter.events) == len(ends)
    assert "a node that other jobs may have shared" in str(
        read_record(tmp_path / "trials" / "raises--seed0" / "record.json").cost.notes
    )


def test_a_dead_node_costs_no_trial(
    tmp_path: Path, cluster: SlurmCluster, quiet_rows: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_FAKE_PAUSE", "0.05")

    def kill() -> None:
        wait_until(lambda: running_on(tmp_path, "n2"))
        cluster.kill_node("n2")

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        assert run(tmp_path, plan(["healthy"], 8), engine=engine(tmp_path)) == ALL_OK
    finally:
        killer.join()
        cluster.start_node("n2")
    assert rows(tmp_path) == quiet_rows
    assert doubled(tmp_path) == 0


def test_a_request_of_the_cluster_to_end_is_a_checkpoint_and_the_trial_goes_on(
    tmp_path: Path, cluster: SlurmCluster, quiet_rows: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_FAKE_PAUSE", "0.05")

    def ask() -> None:
        name = wait_until(lambda: running_on(tmp_path))
        # what --signal=B:TERM@60 sends a minute before the time limit
        cluster.said("scancel", "--signal=TERM", "--batch", job_of(tmp_path, name))

    asking = threading.Thread(target=ask)
    asking.start()
    assert run(tmp_path, plan(["healthy"], 2), engine=engine(tmp_path)) == ALL_OK
    asking.join()
    assert rows(tmp_path) == [row for row in quiet_rows if "'healthy', 0" in row or "'healthy', 1" in row]
    assert len(list(tmp_path.glob("trials/*/log.previous.txt"))) == 1, "one of them ran twice, the second time on"


def test_a_cancelled_trial_is_interrupted_and_runs_again(
    tmp_path: Path, cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_FAKE_PAUSE", "0.1")

    def cancel() -> None:
        cluster.said("scancel", job_of(tmp_path, wait_until(lambda: running_on(tmp_path))))

    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    assert run(tmp_path, plan(["healthy"]), engine=engine(tmp_path)) == SOME_FAILED
    cancelling.join()
    assert read_record(tmp_path / "trials" / "healthy--seed0" / "record.json").status == "interrupted"
    monkeypatch.setenv("HARNESS_FAKE_PAUSE", "0.001")
    assert run(tmp_path, plan(["healthy"]), engine=engine(tmp_path)) == ALL_OK


def test_a_killed_parent_is_followed_by_one_that_finds_the_jobs(
    tmp_path: Path, quiet_rows: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_FAKE_PAUSE", "0.05")
    monkeypatch.setenv("HARNESS_FAKE_ENGINE", "slurm")
    parent = subprocess.Popen([*WORKER, "run", str(tmp_path), "healthy", "8"])
    wait_until(lambda: running_on(tmp_path))
    parent.kill()
    parent.wait()
    before = json.loads((tmp_path / "slurm" / "jobs.json").read_text("utf-8"))
    assert [len(array["names"]) for array in before] == [5, 3], "no array is larger than the cluster allows"
    assert run(tmp_path, plan(["healthy"], 8), engine=engine(tmp_path)) == ALL_OK
    assert rows(tmp_path) == quiet_rows
    assert json.loads((tmp_path / "slurm" / "jobs.json").read_text("utf-8")) == before, "nothing was submitted again"
    assert not list(tmp_path.glob("trials/*/log.previous.txt")), "each trial ran once"


def test_a_request_to_stop_ends_with_checkpoints_and_leaves_no_job(
    tmp_path: Path, cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_FAKE_PAUSE", "0.1")
    monkeypatch.setenv("HARNESS_FAKE_ENGINE", "slurm")
    parent = subprocess.Popen([*WORKER, "run", str(tmp_path), "healthy", "6"])
    wait_until(lambda: running_on(tmp_path))
    parent.terminate()
    assert parent.wait(60) == INTERRUPTED
    assert cluster.said("squeue", "-h").strip() == ""
    found = [read_record(path) for path in tmp_path.glob("trials/*/record.json")]
    assert {record.status for record in found} == {"interrupted"}


def test_options_that_sbatch_refuses_are_said_in_its_words(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"sbatch: .*nowhere"):
        run(tmp_path, plan(["healthy"]), engine=SlurmEngine(tmp_path, "-p nowhere"))
