"""Brings one trial to its record, whatever becomes of it: what every engine does with every trial.

A trial is done when its folder holds a record of the same key with the status `ok` or `pruned`, or with `oom`,
`timeout`, `crash` or `diverged` unless `retry_failed` is set. Every other trial runs, from its newest
checkpoint if it has one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.config.trial_spec import TrialSpec
from harness.errors import HarnessError
from harness.fileio import remove_temporaries
from harness.monitoring.placement import ALONE, Placement
from harness.monitoring.progress import remove_progress
from harness.orchestration.attempts import Attempt, begin_attempt, end_attempts, read_attempts
from harness.orchestration.plan import PlannedTrial
from harness.orchestration.process.launchers import Launcher
from harness.orchestration.process.supervisor import Limits, StopRequest, default_memory_limit, run_trial
from harness.orchestration.run_options import RunOptions
from harness.orchestration.trial_folder import existing_record, prepare_folder
from harness.orchestration.wall_limit import wall_limit, warm_up_allowance
from harness.platform.locks import trial_lock
from harness.results.io import RECORD, read_trial_spec, write_record
from harness.results.schema import DataFacts, RunRecord, Status
from harness.results.status import FAILED, printable
from harness.training.checkpoint_files import remove_blobs


@dataclass(frozen=True)
class TrialOrder:
    """All that an engine must know of a trial. data: what is known of its data."""

    trial: PlannedTrial
    run_dir: Path
    data: DataFacts
    options: RunOptions

    @property
    def name(self) -> str:
        return self.trial.name

    @property
    def folder(self) -> Path:
        return self.trial.folder(self.run_dir)

    def done_record(self, search: bool = True) -> RunRecord | None:
        """The record in the trial's folder, if it needs no other. search: of `read_record`."""
        record = existing_record(self.folder, self.trial.spec.key, search)
        return record if record is not None and is_done(record, self.options) else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A trial's record. kept: whether it was there already, so that nothing ran."""

    record: RunRecord
    kept: bool


def is_done(record: RunRecord, options: RunOptions) -> bool:
    """Whether the trial of this record does not run again."""
    return record.status in ("ok", "pruned") or (record.status in FAILED and not options.retry_failed)


def keep_done(order: TrialOrder) -> RunRecord | None:
    """The record of a trial that is done, cleaned up; None where it is not done or another run works on it."""
    record = order.done_record(search=False)
    if record is None or (record.data is not None and not _has_leftovers(order.folder)):
        return record
    with trial_lock(order.folder) as ours:
        record = order.done_record() if ours else None
        return None if record is None else _clean_up(record, order)


def _has_leftovers(folder: Path) -> bool:
    """Whether a run that was killed may have left something to remove."""
    return any(name.startswith("state-") or name.endswith(".tmp") for name in os.listdir(folder))


def bring_to_record(
    order: TrialOrder,
    launcher: Launcher,
    stop: StopRequest,
    placement: Placement = ALONE,
    on_start: Callable[[], None] = lambda: None,
    where: str = "this machine",
    most_lost: int | None = None,
) -> Outcome | None:
    """Run the trial, unless it is done.

    Args:
        order: the trial.
        launcher: starts its process.
        stop: checked five times a second.
        placement: what the launcher gives the process of the machine.
        on_start: called before it runs, when no other run can work on it any more.
        where: for those who ask where it runs.
        most_lost: attempts that may be lost with their machines before the trial is given up; None for any number.

    Returns:
        Its record, which is on disk by then; None where another run works on the trial, or where `stop` came first.

    Raises:
        StorageError: the disk takes no record.
        HarnessError: no process can be started.
    """
    with trial_lock(order.folder) as ours:
        if not ours:
            return None
        record = order.done_record()
        if record is not None:
            return Outcome(_clean_up(record, order), kept=True)
        if stop.times:
            return None
        remove_progress(order.folder)
        on_start()
        lost = read_attempts(order.folder)
        if most_lost is not None and len(lost) >= most_lost:
            record = _given_up(order, lost)
        else:
            begin_attempt(order.folder, where)
            record = _run(order, launcher, stop, placement)
        end_attempts(order.folder)
        return Outcome(_clean_up(record, order), kept=False)


def write_left_record(order: TrialOrder, status: Status, reason: str) -> RunRecord | None:
    """The record of a trial whose process has ended elsewhere, with this status where it has left none.

    None where a run works on the trial. Raises StorageError.
    """
    with trial_lock(order.folder) as ours:
        if not ours:
            return None
        record = existing_record(order.folder, order.trial.spec.key)
        if record is None:
            record = write_record(order.folder / RECORD, RunRecord.from_spec(order.trial.spec, status, reason))
        end_attempts(order.folder)
        return _clean_up(record, order)


def _given_up(order: TrialOrder, lost: Sequence[Attempt]) -> RunRecord:
    nodes = ", ".join(attempt.where for attempt in lost)
    reason = printable(f"lost {len(lost)} times with the machine that it ran on: {nodes}")
    return write_record(order.folder / RECORD, RunRecord.from_spec(order.trial.spec, "interrupted", reason))


def _run(order: TrialOrder, launcher: Launcher, stop: StopRequest, placement: Placement) -> RunRecord:
    """Run the trial. After running out of memory, retry with smaller micro-batches if the options say so."""
    options, spec, folder = order.options, order.trial.spec, order.folder
    if order.trial.skip_reason:
        prepare_folder(folder, spec)
        return write_record(folder / RECORD, RunRecord.from_spec(spec, "skipped", order.trial.skip_reason))
    limits = Limits(
        wall_seconds=options.wall_limit or wall_limit(spec, order.data),
        memory_bytes=options.memory_limit or default_memory_limit(placement.trials or 1),
        grace_seconds=options.grace,
        warm_up_seconds=warm_up_allowance(spec),
    )
    if options.on_oom == "halve":
        spec = _with_earlier_micro_batches(spec, folder)
    while True:
        record = run_trial(spec, folder, limits, stop, lambda progress: None, launcher, placement)
        parts = 2 * spec.micro_batches
        too_small = parts > spec.preset.training.batch
        if record.status != "oom" or options.on_oom == "record" or too_small or stop.times:
            return record
        spec = spec.model_copy(update={"micro_batches": parts})


def _with_earlier_micro_batches(spec: TrialSpec, folder: Path) -> TrialSpec:
    """The trial with the micro-batches of its last attempt, whose checkpoints can then be used."""
    try:
        before = read_trial_spec(folder)
    except HarnessError:
        return spec
    return before if before.key == spec.key and before.micro_batches > spec.micro_batches else spec


def _clean_up(record: RunRecord, order: TrialOrder) -> RunRecord:
    """Remove checkpoints that nobody needs, and add the data to a record whose worker had not loaded them.

    Also for a record of an earlier run, which may have been killed before it did this. The caller holds the lock.
    """
    remove_temporaries(order.folder)
    if record.status in ("ok", "pruned", "diverged"):
        remove_blobs(order.folder)
    if record.data is not None:
        return record
    return write_record(order.folder / RECORD, record.model_copy(update={"data": order.data}))
