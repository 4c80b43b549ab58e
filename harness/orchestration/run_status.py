"""Where every trial of a run is, from the files in its folder alone: while it runs, on any engine, or afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from harness.monitoring.progress import Progress, ProgressReader
from harness.orchestration.attempts import read_attempts
from harness.orchestration.plan import PlannedTrial, read_manifest
from harness.orchestration.trial_folder import existing_record
from harness.platform.leases import LEASE_SECONDS, lease_age

RUNNING, LOST, WAITING = "running", "lost", "waiting"


@dataclass(frozen=True, slots=True)
class TrialStatus:
    """One trial.

    state: RUNNING, LOST (it ran, and nothing has been heard for two minutes), WAITING, or the status of its record.
    since, where: of the attempt that runs or was lost. progress: of one that runs.
    reason: of its record. seconds: that it took.
    """

    trial: PlannedTrial
    state: str
    since: str = ""
    where: str = ""
    progress: Progress | None = None
    reason: str = ""
    seconds: float | None = None


def trial_statuses(run_dir: Path) -> list[TrialStatus]:
    """Every planned trial, in the order of the plan. Raises HarnessError where there is no plan."""
    return [_status(trial, trial.folder(run_dir)) for trial in read_manifest(run_dir).trials]


def seconds_left(statuses: Sequence[TrialStatus]) -> float | None:
    """Until none waits or runs, if as many go on side by side as now run; None where no trial has ended yet."""
    took = [one.seconds for one in statuses if one.seconds and one.state == "ok"]
    running = [one for one in statuses if one.state == RUNNING]
    if not took or not running:
        return None
    training = [one.progress for one in running if one.progress and one.progress.phase == "training"]
    shares = [1 - progress.fraction for progress in training] + [1.0] * (len(running) - len(training))
    waiting = sum(one.state in (WAITING, LOST) for one in statuses)
    each = fmean(took)
    return max(each * max(shares), each * (sum(shares) + waiting) / len(running))


def _status(trial: PlannedTrial, folder: Path) -> TrialStatus:
    attempts = read_attempts(folder)
    if attempts:
        since, where = attempts[-1].started, attempts[-1].where
        if lease_age(folder) > LEASE_SECONDS:
            return TrialStatus(trial, LOST, since, where)
        return TrialStatus(trial, RUNNING, since, where, ProgressReader(folder).newest())
    record = existing_record(folder, trial.spec.key)
    if record is None:
        return TrialStatus(trial, WAITING)
    return TrialStatus(trial, record.status, reason=record.reason, seconds=record.wall_seconds)
