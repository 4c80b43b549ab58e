"""Trials on a real Ray cluster of three machines, each a raylet that these tests start and end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_worker import WORKER, RecordingReporter, doubled, plan, rows, run

from harness.errors import HarnessError
from harness.orchestration.attempts import read_attempts
from harness.orchestration.engines.ray import RayEngine, ray_engine
from harness.orchestration.scheduler import ALL_OK, INTERRUPTED, SOME_FAILED
from harness.results.io import read_record

pytestmark = pytest.mark.slow

ray = pytest.importorskip("ray", reason='no Ray: pip install "cell-segmentation-harness[ray]"')


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that runs nothing, and three machines of one core each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # its trials run where the tests can be imported
        patch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 << 20}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        nodes = [cluster.add_node(num_cpus=1, object_store_memory=80 << 20) for _ in range(3)]
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        try:
            yield cluster, nodes
        finally:
            ray.shutdown()
            cluster.shutdown()


@pytest.fixture(scope="module")
def quiet_rows(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("quiet")
    assert run(folder, plan(["healthy"], 6)) == ALL_OK
    return rows(folder)


def wait_until(there: Callable[[], object], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not (found := there()):
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.1)
    return found


def with_checkpoint(run_dir: Path) -> list[str]:
    """Names of the trials that run and have a checkpoint."""
    folders = (run_dir / "trials").glob("*")
    return [folder.name for folder in folders if read_attempts(folder) and list(folder.glob("*.ckpt"))]


def test_all_ends_of_a_trial_are_its_row(tmp_path: Path, cluster: Any) -> None:
    ends = {"healthy": "ok", "raises": "crash", "memory_error": "oom", "diverges": "diverged", "killed": "interrupted"}
    ends |= {"hangs": "timeout", "exits": "skipped"}
    manifest = plan(list(ends))
    skipped = manifest.trials[-1].model_copy(update={"skip_reason": "needs a package"})
    manifest = manifest.model_copy(update={"trials": (*manifest.trials[:-1], skipped)})
    reporter = RecordingReporter()
    how = {"grace": 0.5, "wall_limit": 15.0}
    assert run(tmp_path, manifest, reporter, engine=RayEngine(tmp_path, ray), **how) == SOME_FAILED
    records = {name: read_record(tmp_path / "trials" / f"{name}--seed0" / "record.json") for name in ends}
    assert {name: record.status for name, record in records.items()} == ends
    assert sum(what == "ended" for what, _ in reporter.events) == len(ends)
    assert records["raises"].cost.notes == ["ran on a node that other jobs may have shared"]


def test_a_dead_machine_costs_no_trial(
    tmp_path: Path, cluster: Any, quiet_rows: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_FAKE_PAUSE", "0.05")
    head, nodes = cluster

    def kill() -> None:
        wait_until(lambda: len(with_checkpoint(tmp_path)) >= 2)
        head.remove_node(nodes.pop(), allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    assert run(tmp_path, plan(["healthy"], 6), engine=RayEngine(tmp_path, ray)) == ALL_OK
    killer.join()
    assert rows(tmp_path) == quiet_rows
    assert doubled(tmp_path) == 0


def test_a_request_to_stop_is_a_checkpoint_and_the_next_run_goes_on(
    tmp_path: Path, cluster: Any, quiet_rows: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_FAKE_PAUSE", "0.1")

    def ask() -> None:
        wait_until(lambda: with_checkpoint(tmp_path))
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    asking.start()
    assert run(tmp_path, plan(["healthy"], 6), engine=RayEngine(tmp_path, ray)) == INTERRUPTED
    asking.join()
    found = [read_record(path) for path in tmp_path.glob("trials/*/record.json")]
    assert {record.status for record in found} == {"interrupted"}
    monkeypatch.setenv("HARNESS_FAKE_PAUSE", "0.001")
    assert run(tmp_path, plan(["healthy"], 6), engine=RayEngine(tmp_path, ray)) == ALL_OK
    assert rows(tmp_path) == quiet_rows


def test_a_killed_parent_is_followed_by_one_that_runs_no_trial_twice(
    tmp_path: Path, cluster: Any, quiet_rows: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_FAKE_PAUSE", "0.05")
    monkeypatch.setenv("HARNESS_FAKE_ENGINE", cluster[0].address)
    parent = subprocess.Popen([*WORKER, "run", str(tmp_path), "healthy", "6"])
    wait_until(lambda: with_checkpoint(tmp_path))
    done = {path: path.read_bytes() for path in tmp_path.glob("trials/*/record.json")}
    parent.kill()
    parent.wait()
    assert run(tmp_path, plan(["healthy"], 6), engine=RayEngine(tmp_path, ray)) == ALL_OK
    assert rows(tmp_path) == quiet_rows
    assert doubled(tmp_path) == 0
    assert {path: path.read_bytes() for path in done} == done, "what was done is not done again"


def test_no_cluster_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="ray start --head"), ray_engine(tmp_path, "127.0.0.1:1"):
        pass
