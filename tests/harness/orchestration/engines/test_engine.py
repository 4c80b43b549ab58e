"""What the scheduler does with any engine."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from fake_worker import RecordingReporter, plan, run

from harness.errors import HarnessError
from harness.orchestration.bring_to_record import TrialOrder
from harness.orchestration.engines.engine import Resources, TrialState
from harness.orchestration.engines.open_engine import open_engine
from harness.orchestration.request import RunRequest
from harness.orchestration.scheduler import INTERRUPTED, SOME_FAILED
from harness.results.io import write_record
from harness.results.schema import RunRecord


class DistantEngine:
    """An engine whose trials are on other machines."""

    outlives_run = True
    slots = None

    def __init__(self, states: Sequence[Mapping[str, TrialState]] = ()) -> None:
        self.submitted: list[str] = []
        self.stopped: list[int] = []
        self.hang_up = False
        self._states = list(states)

    def submit(self, trials: Sequence[TrialOrder], resources: Resources) -> None:
        self.submitted = [order.name for order in trials]

    def states(self) -> Mapping[str, TrialState]:
        if self.hang_up:
            os.kill(os.getpid(), signal.SIGHUP)
        return self._states.pop(0) if self._states else {"a--seed0": TrialState("running")}

    def stop(self, times: int) -> None:
        self.stopped.append(times)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no terminals that hang up")
def test_a_closed_terminal_leaves_the_trials_of_a_cluster_alone(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        engine = DistantEngine()
        engine.hang_up = True
        assert run(tmp_path, plan(["a"]), engine=engine) == INTERRUPTED
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (engine.submitted, engine.stopped) == (["a--seed0"], [])


def test_a_trial_that_was_never_seen_running_is_told_whole(tmp_path: Path) -> None:
    manifest = plan(["a"])
    (trial,) = manifest.trials
    trial.folder(tmp_path).mkdir(parents=True)
    record = write_record(
        trial.folder(tmp_path) / "record.json", RunRecord.from_spec(trial.spec, "interrupted", "its node died")
    )
    reporter = RecordingReporter()
    engine = DistantEngine([{}, {trial.name: TrialState("ended", record)}])
    assert run(tmp_path, manifest, reporter, engine=engine) == SOME_FAILED
    assert reporter.events == [("started", trial.name), ("ended", "interrupted")]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"engine": "slurm", "jobs": 2}, "--jobs is of this machine"),
        ({"engine": "ray", "engine_options": "-p gpu"}, "are those of sbatch"),
        ({"address": "10.0.0.1:6379"}, "type --engine ray"),
    ],
)
def test_options_of_another_engine_are_refused(tmp_path: Path, typed: dict[str, object], said: str) -> None:
    with pytest.raises(HarnessError, match=said), open_engine(RunRequest(**typed), tmp_path, []):  # type: ignore[arg-type]
        pass


def test_a_machine_without_slurm_is_told_where_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HarnessError, match="login node"), open_engine(RunRequest(engine="slurm"), tmp_path, []):
        pass
