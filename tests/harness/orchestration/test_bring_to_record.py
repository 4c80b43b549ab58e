"""One trial and its record, as every engine brings it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_worker import DATA, WORKER, plan

from harness.orchestration.attempts import begin_attempt, read_attempts
from harness.orchestration.bring_to_record import TrialOrder, bring_to_record, keep_done, write_left_record
from harness.orchestration.process.launchers import SubprocessLauncher
from harness.orchestration.process.supervisor import StopRequest
from harness.orchestration.run_options import RunOptions
from harness.platform.locks import trial_lock
from harness.results.io import RECORD, write_record
from harness.results.schema import RunRecord
from harness.training.checkpoint_files import save_blob


@pytest.fixture
def order(tmp_path: Path) -> TrialOrder:
    return TrialOrder(plan(["healthy"]).trials[0], tmp_path, DATA, RunOptions())


def test_a_trial_that_was_lost_with_its_machine_three_times_is_given_up(order: TrialOrder) -> None:
    order.folder.mkdir(parents=True)
    for node in ("n1", "n2", "n2"):
        begin_attempt(order.folder, f"node {node}")
    outcome = bring_to_record(order, SubprocessLauncher(WORKER), StopRequest(), most_lost=3)
    assert outcome is not None
    assert (outcome.record.status, outcome.record.data) == ("interrupted", DATA)
    assert outcome.record.reason == "lost 3 times with the machine that it ran on: node n1, node n2, node n2"
    assert read_attempts(order.folder) == [], "the next run begins anew"


def test_a_trial_says_where_it_runs_until_its_record_is_there(
    order: TrialOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    where: list[str] = []
    launcher = SubprocessLauncher(WORKER)
    real = launcher.start

    def start(*arguments: object) -> int:
        where.extend(attempt.where for attempt in read_attempts(order.folder))
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(launcher, "start", start)
    outcome = bring_to_record(order, launcher, StopRequest(), where="node n1")
    assert outcome is not None
    assert (outcome.record.status, where, read_attempts(order.folder)) == ("ok", ["node n1"], [])


def test_nothing_starts_after_a_request_to_stop(order: TrialOrder) -> None:
    assert bring_to_record(order, SubprocessLauncher(("no-such-program",)), StopRequest(times=1)) is None


def test_a_trial_that_left_no_record_gets_one_unless_a_run_works_on_it(order: TrialOrder) -> None:
    with trial_lock(order.folder):
        assert write_left_record(order, "oom", "said") is None
    record = write_left_record(order, "oom", "said")
    assert record is not None
    assert (record.status, record.reason, record.data) == ("oom", "said", DATA)
    again = write_left_record(order, "interrupted", "later")
    assert again is not None
    assert again.status == "oom", "a record that is there wins"


def test_a_trial_that_is_done_is_kept_without_a_lock_unless_something_is_left_to_remove(order: TrialOrder) -> None:
    assert keep_done(order) is None
    order.folder.mkdir(parents=True)
    record = RunRecord.from_spec(order.trial.spec, "ok", data=DATA)
    write_record(order.folder / RECORD, record)
    assert keep_done(order) is not None
    assert not (order.folder / ".lock").exists()
    left = save_blob(order.folder, 5, b"state")
    assert keep_done(order) is not None
    assert not left.exists()
