"""Works through a plan, one trial after the other, and continues where an earlier run of the plan ended.

A trial is done when its folder holds a record of the same key with the status `ok` or `pruned`, or with `oom`,
`timeout`, `crash` or `diverged` unless `retry_failed` is set. Every other trial runs, from its newest
checkpoint if it has one.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Literal, Protocol

from harness.config.trial_spec import TrialSpec
from harness.errors import HarnessError, StorageError
from harness.fileio import remove_temporaries
from harness.monitoring.progress import Progress
from harness.orchestration.plan import Manifest, PlannedTrial, write_manifest
from harness.orchestration.process.launchers import Launcher, SubprocessLauncher
from harness.orchestration.process.supervisor import Limits, StopRequest, default_memory_limit, run_trial
from harness.orchestration.trial_folder import existing_record, prepare_folder
from harness.orchestration.wall_limit import wall_limit, warm_up_allowance
from harness.platform.locks import folder_lock, trial_lock
from harness.platform.processes import STOP_SIGNALS
from harness.results.folds import are_complete, folder_of_all, is_current
from harness.results.io import RECORD, TRIALS, read_trial_spec, write_record
from harness.results.schema import DataFacts, RunRecord
from harness.results.status import FAILED
from harness.training.checkpoint_files import remove_blobs

ALL_OK, SOME_FAILED, INTERRUPTED = 0, 1, 130
"""Exit status of a run."""

_LOCK_POLL = 0.5
"""Seconds between two attempts to get a trial that another run works on."""


@dataclass(frozen=True)
class RunOptions:
    """How a plan is worked through. None of it changes a score.

    wall_limit: seconds that a trial may take; None derives it from the budget.
    memory_limit: bytes that a trial may hold; None is 90 % of the machine's.
    on_oom: "halve" repeats a trial that ran out of memory with micro-batches of half the size.
    retry_failed: run trials again that failed in an earlier run.
    grace: seconds for the last checkpoint of a trial that is asked to stop.
    launcher: starts the process of a trial.
    """

    wall_limit: float | None = None
    memory_limit: int | None = None
    on_oom: Literal["record", "halve"] = "record"
    retry_failed: bool = False
    grace: float = 60.0
    launcher: Launcher = field(default_factory=SubprocessLauncher)


class Reporter(Protocol):
    """Shows what happens."""

    def started(self, trial: PlannedTrial, index: int, total: int) -> None: ...
    def progress(self, trial: PlannedTrial, progress: Progress) -> None: ...
    def ended(self, trial: PlannedTrial, record: RunRecord) -> None: ...
    def kept(self, trial: PlannedTrial, record: RunRecord) -> None:
        """The trial was done in an earlier run, and its record stays."""

    def folds_scored(self, record: RunRecord) -> None:
        """All folds of a method and seed are there, and have been scored together."""

    def waiting(self, trial: PlannedTrial) -> None:
        """Another run works on the trial; this one waits for it."""

    def stopping(self, times: int) -> None:
        """The user has asked to stop, for the first or a later time."""


def run_plan(
    manifest: Manifest,
    run_dir: Path,
    options: RunOptions,
    reporter: Reporter,
    write_leaderboards: Callable[[Path], object],
) -> int:
    """Run every trial of the plan that is not done yet.

    Args:
        manifest: the plan. It is added to the plan that run_dir may hold already.
        run_dir: folder of the run.
        options: limits, and what to do with failures.
        reporter: told what happens.
        write_leaderboards: called with run_dir after each trial.

    Returns:
        ALL_OK where every trial is ok or skipped and at least one is ok, INTERRUPTED where asked to stop, else
        SOME_FAILED.

    Raises:
        HarnessError: run_dir holds other work under the same names, or the disk takes no files.
    """
    write_manifest(run_dir, manifest)
    scheduler = _Scheduler(manifest, run_dir, options, reporter, write_leaderboards)
    with _signals(scheduler.stop, reporter):
        scheduler.run_all()
    scheduler.update_leaderboards()
    if scheduler.stop.times:
        return INTERRUPTED
    statuses = {record.status for record in scheduler.records}
    return ALL_OK if "ok" in statuses and statuses <= {"ok", "pruned", "skipped"} else SOME_FAILED


@dataclass
class _Scheduler:
    """The state of a run. records: of the trials that are done; fewer than planned where asked to stop."""

    manifest: Manifest
    run_dir: Path
    options: RunOptions
    reporter: Reporter
    write_leaderboards: Callable[[Path], object]
    stop: StopRequest = field(default_factory=StopRequest)
    records: list[RunRecord] = field(default_factory=list)

    def run_all(self) -> None:
        """Run or keep every trial. Trials that another run works on are tried again until they are free."""
        pending = list(self.manifest.trials)
        waiting_for: str | None = None
        while pending and not self.stop.times:
            locked = [trial for trial in pending if not self.stop.times and not self._try(trial)]
            if len(locked) == len(pending):
                if waiting_for != locked[0].name:
                    self.reporter.waiting(locked[0])
                    waiting_for = locked[0].name
                time.sleep(_LOCK_POLL)
            pending = locked

    def update_leaderboards(self) -> None:
        with folder_lock(self.run_dir):
            self.write_leaderboards(self.run_dir)

    def _try(self, trial: PlannedTrial) -> bool:
        """Bring the trial to a record. False where another run works on it."""
        folder, data = trial.folder(self.run_dir), self.manifest.facts_of(trial.spec)
        with trial_lock(folder) as ours:
            if not ours:
                return False
            record = existing_record(folder, trial.spec.key)
            if record is not None and _is_done(record, self.options):
                self.records.append(_clean_up(record, folder, data))
                self.reporter.kept(trial, self.records[-1])
                self._score_folds(trial)
                return True
            self.reporter.started(trial, self.manifest.trials.index(trial) + 1, len(self.manifest.trials))
            self.records.append(_clean_up(self._run(trial, folder, data), folder, data))
        self.reporter.ended(trial, self.records[-1])
        self._score_folds(trial)
        self.update_leaderboards()
        return True

    def _score_folds(self, trial: PlannedTrial) -> None:
        """Score the folds of the trial's method and seed together, if this was the last of them to end."""
        if not trial.spec.split.fold:
            return
        siblings = [t for t in self.manifest.trials if t.spec.folds_key == trial.spec.folds_key]
        folds = [existing_record(t.folder(self.run_dir), t.spec.key) for t in siblings]
        there = [record for record in folds if record is not None]
        if not are_complete(there):
            return
        names = [sibling.name for sibling in siblings]
        folder = self.run_dir / TRIALS / folder_of_all(names[0])
        with trial_lock(folder) as ours:
            whole = existing_record(folder, trial.spec.folds_key)
            if not ours or (whole is not None and is_current(whole, there)):
                return
            # imported here: it loads what scores
            from harness.orchestration.folds import record_failure, score_folds

            try:
                whole = score_folds(self.run_dir, names)
            except StorageError:
                raise
            except HarnessError as error:
                whole = record_failure(self.run_dir, names, error)
        self.records.append(whole)
        self.reporter.folds_scored(whole)

    def _run(self, trial: PlannedTrial, folder: Path, data: DataFacts) -> RunRecord:
        """Run the trial. After running out of memory, retry with smaller micro-batches if the options say so."""
        options, spec = self.options, trial.spec
        if trial.skip_reason:
            prepare_folder(folder, spec)
            return write_record(folder / RECORD, RunRecord.from_spec(spec, "skipped", trial.skip_reason))
        limits = Limits(
            wall_seconds=options.wall_limit or wall_limit(spec, data),
            memory_bytes=options.memory_limit or default_memory_limit(),
            grace_seconds=options.grace,
            warm_up_seconds=warm_up_allowance(spec),
        )
        if options.on_oom == "halve":
            spec = _with_earlier_micro_batches(spec, folder)
        while True:
            record = run_trial(
                spec,
                folder,
                limits,
                self.stop,
                lambda progress: self.reporter.progress(trial, progress),
                options.launcher,
            )
            parts = 2 * spec.micro_batches
            too_small = parts > spec.preset.training.batch
            if record.status != "oom" or options.on_oom == "record" or too_small or self.stop.times:
                return record
            spec = spec.model_copy(update={"micro_batches": parts})


def _is_done(record: RunRecord, options: RunOptions) -> bool:
    return record.status in ("ok", "pruned") or (record.status in FAILED and not options.retry_failed)


def _with_earlier_micro_batches(spec: TrialSpec, folder: Path) -> TrialSpec:
    """The trial with the micro-batches of its last attempt, whose checkpoints can then be used."""
    try:
        before = read_trial_spec(folder)
    except HarnessError:
        return spec
    return before if before.key == spec.key and before.micro_batches > spec.micro_batches else spec


def _clean_up(record: RunRecord, folder: Path, data: DataFacts) -> RunRecord:
    """Remove checkpoints that nobody needs, and add the data to a record whose worker had not loaded them.

    Also for a record of an earlier run, which may have been killed before it did this. The caller holds the lock.
    """
    remove_temporaries(folder)
    if record.status in ("ok", "pruned", "diverged"):
        remove_blobs(folder)
    if record.data is not None:
        return record
    return write_record(folder / RECORD, record.model_copy(update={"data": data}))


@contextmanager
def _signals(stop: StopRequest, reporter: Reporter) -> Iterator[None]:
    """Count requests to stop instead of ending at the signal. Ignored signals stay ignored (nohup)."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.times += 1
        reporter.stopping(stop.times)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [n for n in STOP_SIGNALS if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
