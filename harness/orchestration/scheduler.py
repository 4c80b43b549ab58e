"""Works through a plan with an engine, and continues where an earlier run of the plan ended."""

from __future__ import annotations

import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

from harness.errors import HarnessError, StorageError
from harness.monitoring.progress import Progress, ProgressReader
from harness.orchestration.bring_to_record import TrialOrder, keep_done
from harness.orchestration.engines.engine import Engine, Resources, TrialState
from harness.orchestration.engines.local import LocalEngine, Slot
from harness.orchestration.kept_weights import KeptWeights, keep_by_default
from harness.orchestration.plan import Manifest, PlannedTrial, write_manifest
from harness.orchestration.process.supervisor import StopRequest
from harness.orchestration.run_options import RunOptions
from harness.orchestration.trial_folder import existing_record
from harness.platform.locks import folder_lock, trial_lock
from harness.platform.processes import STOP_SIGNALS
from harness.results.folds import are_complete, folder_of_all, is_current
from harness.results.io import TRIALS
from harness.results.schema import RunRecord

ALL_OK, SOME_FAILED, INTERRUPTED = 0, 1, 130
"""Exit status of a run."""

_POLL = 0.05
"""Seconds between two looks at the engine."""
_PROGRESS_SECONDS = 0.2
"""Between two looks at the progress of the running trials."""
_LEADERBOARD_SECONDS = 30.0
"""At least so long between two leaderboards: with thousands of records, one takes many seconds."""


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
    engine: Engine | None = None,
) -> int:
    """Run every trial of the plan that is not done yet.

    Args:
        manifest: the plan. It is added to the plan that run_dir may hold already.
        run_dir: folder of the run.
        options: limits, and what to do with failures.
        reporter: told what happens.
        write_leaderboards: called with run_dir after trials, at most every 30 seconds, and at the end.
        engine: runs the trials; None for one after the other on this machine.

    Returns:
        ALL_OK where every trial is ok or skipped and at least one is ok, INTERRUPTED where asked to stop, else
        SOME_FAILED.

    Raises:
        HarnessError: run_dir holds other work under the same names, or the disk takes no files.
    """
    write_manifest(run_dir, manifest)
    engine = engine or LocalEngine([Slot(options.launcher)])
    scheduler = _Scheduler(manifest, run_dir, options, reporter, write_leaderboards, engine)
    with _signals(scheduler, reporter):
        scheduler.run_all()
    scheduler.update_leaderboards()
    if scheduler.stop.times or scheduler.leave:
        return INTERRUPTED
    statuses = {record.status for record in scheduler.records}
    return ALL_OK if "ok" in statuses and statuses <= {"ok", "pruned", "skipped"} else SOME_FAILED


@dataclass
class _Scheduler:
    """The state of a run.

    records: of the trials that are done; fewer than planned where asked to stop.
    leave: whether to end while the engine's trials go on.
    """

    manifest: Manifest
    run_dir: Path
    options: RunOptions
    reporter: Reporter
    write_leaderboards: Callable[[Path], object]
    engine: Engine
    stop: StopRequest = field(default_factory=StopRequest)
    leave: bool = False
    records: list[RunRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        trials = self.manifest.trials
        self._numbers = {trial.name: number for number, trial in enumerate(trials, 1)}
        self._open: dict[str, TrialOrder] = {}
        self._readers: dict[str, ProgressReader] = {}
        self._waiting_for = ""
        self._looked = self._written = -float("inf")
        keep = self.options.keep_weights or keep_by_default(len(trials))
        self._weights = KeptWeights(keep, self.run_dir)
        self._siblings: dict[str, list[PlannedTrial]] = defaultdict(list)
        for trial in trials:
            self._siblings[trial.spec.folds_key].append(trial)

    def run_all(self) -> None:
        """Run or keep every trial. Trials that another run works on are tried again until they are free."""
        for trial in self.manifest.trials:
            if self.stop.times or self.leave:
                return
            order = TrialOrder(trial, self.run_dir, self.manifest.facts_of(trial.spec), self.options)
            record = keep_done(order)
            if record is None:
                self._open[trial.name] = order
            else:
                self._end(order, TrialState("kept", record))
        self.engine.submit(list(self._open.values()), _resources(self.manifest))
        error = self._watch()
        if error is not None:
            raise error

    def update_leaderboards(self) -> None:
        with folder_lock(self.run_dir):
            self.write_leaderboards(self.run_dir)
        self._written = time.monotonic()

    def _watch(self) -> BaseException | None:
        """Follow the trials until all have ended, or until none runs after a request to stop. The first error."""
        asked, error = 0, None
        while self._open and not self.leave:
            if self.stop.times > asked:
                asked = self.stop.times
                self.engine.stop(asked)
            states = self.engine.states()
            for name, state in states.items():
                if name in self._open:
                    error = error or state.error
                    self._update(self._open[name], state)
            if error is not None and not asked:
                asked = 1
                self.engine.stop(asked)
            if asked and not any(state.phase in ("starting", "running") for state in states.values()):
                break
            self._tell_of_waiting(states)
            self._tell_progress()
            time.sleep(_POLL)
        return error

    def _update(self, order: TrialOrder, state: TrialState) -> None:
        if state.phase in ("starting", "busy"):
            return
        if order.name not in self._readers and state.phase != "kept" and state.error is None:
            self._readers[order.name] = ProgressReader(order.folder)
            self.reporter.started(order.trial, self._numbers[order.name], len(self._numbers))
        if state.phase != "running":
            self._end(order, state)

    def _end(self, order: TrialOrder, state: TrialState) -> None:
        """The trial has its record."""
        self._open.pop(order.name, None)
        self._readers.pop(order.name, None)
        if state.record is None:
            return
        self.records.append(state.record)
        self._weights.done(order.trial, state.record, earlier=state.phase == "kept")
        if state.phase == "kept":
            self.reporter.kept(order.trial, state.record)
        else:
            self.reporter.ended(order.trial, state.record)
        self._score_folds(order.trial)
        if state.phase == "ended" and time.monotonic() - self._written > _LEADERBOARD_SECONDS:
            self.update_leaderboards()

    def _tell_of_waiting(self, states: Mapping[str, TrialState]) -> None:
        """Say which trial is waited for, where other runs work on all that are left."""
        busy = [name for name, state in states.items() if state.phase == "busy"]
        if busy and len(busy) == len(self._open) and self._waiting_for != busy[0]:
            self.reporter.waiting(self._open[busy[0]].trial)
            self._waiting_for = busy[0]

    def _tell_progress(self) -> None:
        if time.monotonic() - self._looked < _PROGRESS_SECONDS:
            return
        self._looked = time.monotonic()
        for name, reader in self._readers.items():
            progress = reader.newest()
            if progress is not None:
                self.reporter.progress(self._open[name].trial, progress)

    def _score_folds(self, trial: PlannedTrial) -> None:
        """Score the folds of the trial's method and seed together, if this was the last of them to end."""
        if not trial.spec.split.fold:
            return
        siblings = self._siblings[trial.spec.folds_key]
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


def _resources(manifest: Manifest) -> Resources:
    """What one trial of the plan needs."""
    return Resources(gpus=int(any(trial.spec.device.startswith("cuda") for trial in manifest.trials)))


@contextmanager
def _signals(scheduler: _Scheduler, reporter: Reporter) -> Iterator[None]:
    """Count requests to stop instead of ending at the signal. Ignored signals stay ignored (nohup).

    A terminal that is closed ends the run alone where its trials are on other machines.
    """

    def on_signal(number: int, frame: FrameType | None) -> None:
        if scheduler.engine.outlives_run and number == getattr(signal, "SIGHUP", None):
            scheduler.leave = True
            return
        scheduler.stop.times += 1
        reporter.stopping(scheduler.stop.times)

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
