"""What `status` says of a run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_worker import DATA, plan

from harness.cli import harness
from harness.monitoring.progress import Progress, ProgressFile
from harness.orchestration.attempts import begin_attempt
from harness.orchestration.plan import write_manifest
from harness.orchestration.run_status import seconds_left, trial_statuses
from harness.platform.leases import LEASE, LEASE_SECONDS
from harness.platform.locks import trial_lock
from harness.results.io import write_record
from harness.results.schema import RunRecord


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """One trial that is ok, one that crashed, one whose machine has died, one that waits."""
    manifest = plan(["good", "bad", "lost", "waits"])
    write_manifest(tmp_path, manifest)
    good, bad, lost, _ = manifest.trials
    for trial in manifest.trials[:3]:
        trial.folder(tmp_path).mkdir(parents=True)
    done = RunRecord.from_spec(good.spec, "ok", data=DATA, wall_seconds=80)
    write_record(good.folder(tmp_path) / "record.json", done)
    write_record(bad.folder(tmp_path) / "record.json", RunRecord.from_spec(bad.spec, "crash", "a mistake"))
    begin_attempt(lost.folder(tmp_path), "node n2")
    lease = lost.folder(tmp_path) / LEASE
    lease.touch()
    past = lease.stat().st_mtime - LEASE_SECONDS - 1
    os.utime(lease, (past, past))
    return tmp_path


def test_it_says_what_is_done_what_was_lost_and_what_waits(run_dir: Path) -> None:
    result = CliRunner().invoke(harness, ["status", str(run_dir)])
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line for line in result.output.splitlines() if line.strip()}
    assert "node n2" in lines["lost--seed0"]
    assert "a mistake" in lines["bad--seed0"]
    assert "good--seed0" not in lines
    assert result.output.splitlines()[-1] == "4 trials: 1 lost, 1 crash, 1 ok, 1 waiting"
    whole = CliRunner().invoke(harness, ["status", str(run_dir), "--all"]).output
    assert "good--seed0" in whole
    assert "waits--seed0" in whole


def test_it_says_where_a_trial_runs_how_far_it_is_and_what_is_left(run_dir: Path) -> None:
    folder = run_dir / "trials" / "waits--seed0"
    with trial_lock(folder):
        begin_attempt(folder, "this machine, cores 0")
        ProgressFile(folder).report(Progress("training", 5, 0.5, loss=2.0))
        plain = json.loads(CliRunner().invoke(harness, ["status", str(run_dir), "--json"]).stdout)
        (running,) = [trial for trial in plain["trials"] if trial["state"] == "running"]
        assert (running["where"], running["phase"], running["fraction"]) == ("this machine, cores 0", "training", 0.5)
        # half of the running one, and the one that was lost
        assert plain["seconds_left"] == pytest.approx(0.5 * 80 + 80)
        result = CliRunner().invoke(harness, ["status", str(run_dir)])
        assert "50% training, loss 2.000" in result.output
        assert result.output.splitlines()[-1].endswith("2 min left")


def test_a_run_that_has_ended_has_nothing_left(run_dir: Path) -> None:
    assert seconds_left(trial_statuses(run_dir)) is None


def test_a_folder_without_a_plan_is_refused_in_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(harness, ["status", str(tmp_path)])
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
