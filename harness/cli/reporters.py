"""What a user sees during a run: bars on a screen, lines in a log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import click

from harness.monitoring.progress import Progress
from harness.orchestration.plan import PlannedTrial
from harness.orchestration.scheduler import Reporter
from harness.orchestration.time_left import TimeLeft
from harness.results.schema import RunRecord
from harness.results.status import FAILED

if TYPE_CHECKING:
    from rich.progress import TaskID

_OWN_FRACTION = ("predicting",)
"""Phases after training. The fraction they report is not that of the budget."""


class ScreenReporter(Reporter, Protocol):
    """A reporter that holds the screen while it is entered."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


Tracker = Callable[[Path, RunRecord], str]
"""Called with the folder and the record of each trial that has ended. Returns a warning to print, or nothing."""


def make_reporter(run_dir: Path, quiet: bool, tracker: Tracker | None = None) -> ScreenReporter:
    """Bars where standard error is a terminal, else lines. quiet: lines anywhere."""
    import sys

    return (Lines if quiet or not sys.stderr.isatty() else Bars)(run_dir, tracker)


def trial_name(trial: PlannedTrial) -> str:
    """Method, seed and fold."""
    spec = trial.spec
    if spec.split.fit_all:
        return f"{spec.method} seed {spec.seed} on all images"
    fold = f" fold {spec.split.fold} of {spec.split.folds}" if spec.split.fold else ""
    return f"{spec.method} seed {spec.seed}{fold}"


def outcome(trial: PlannedTrial, record: RunRecord, run_dir: Path) -> str:
    """How a trial ended, in one line."""
    name = trial_name(trial)
    if record.status == "ok" and trial.spec.split.fold:
        return f"{name}: predicted, {record.cost.train_seconds or 0:.0f} s of training; scored with the other folds"
    if record.status == "ok" and trial.spec.split.fit_all:
        return f"{name}: {record.cost.train_seconds or 0:.0f} s of training"
    if record.status == "ok" and record.scores is not None:
        return f"{name}: IoU {record.scores.iou_map:.4f}, {record.cost.train_seconds or 0:.0f} s of training"
    log = f" (log: {trial.folder(run_dir) / 'log.txt'})" if record.status in FAILED else ""
    return f"{name}: {record.status}: {record.reason}{log}"


class Lines:
    """A line when a trial starts, at every tenth of its training, and when it ends; on standard error."""

    def __init__(self, run_dir: Path, tracker: Tracker | None = None) -> None:
        self.run_dir, self._tracker = run_dir, tracker
        self._time_left = TimeLeft()
        self._tenth = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def started(self, trial: PlannedTrial, index: int, total: int) -> None:
        self._tenth = -1
        self._time_left.started(trial.spec.budget, index, total)
        self._print(f"[{index}/{total}] {trial_name(trial)}: {trial.spec.budget}")

    def progress(self, trial: PlannedTrial, progress: Progress) -> None:
        self._time_left.progress(progress)
        tenth = int(10 * progress.fraction)
        if progress.phase != "training" or tenth == self._tenth:
            return
        self._tenth = tenth
        parts = [details(progress), time_left(self._time_left.seconds())]
        self._print(f"    {progress.fraction:4.0%}  {', '.join(filter(None, parts))}")

    def ended(self, trial: PlannedTrial, record: RunRecord) -> None:
        self._time_left.ended(took_part=record.status != "skipped")
        self._print(outcome(trial, record, self.run_dir))
        self._track(trial, record)

    def kept(self, trial: PlannedTrial, record: RunRecord) -> None:
        self._print(f"kept from before: {outcome(trial, record, self.run_dir)}")
        self._track(trial, record)

    def folds_scored(self, record: RunRecord) -> None:
        name = f"{record.method} seed {record.seed}, {record.split.folds} folds"
        if record.scores is None:
            self._print(f"{name}: not scored: {record.reason}")
        else:
            self._print(f"{name}: IoU {record.scores.iou_map:.4f} over {len(record.scores.by_image)} images")

    def waiting(self, trial: PlannedTrial) -> None:
        self._print(f"another run works on {trial.name}; waiting for it")

    def stopping(self, times: int) -> None:
        first = "stopping: the trial writes a checkpoint (once more to stop without it)"
        self._print(first if times == 1 else "stopping without a checkpoint")

    def _track(self, trial: PlannedTrial, record: RunRecord) -> None:
        warning = "" if self._tracker is None else self._tracker(trial.folder(self.run_dir), record)
        if warning:
            self._print(f"warning: {warning}")

    def _print(self, line: str) -> None:
        click.echo(line, err=True)


class Bars(Lines):
    """One bar for the run and one for the trial, below the lines of the trials that have ended."""

    def __init__(self, run_dir: Path, tracker: Tracker | None = None) -> None:
        super().__init__(run_dir, tracker)
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:3.0f}%"),
            TextColumn("{task.fields[details]}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._run_bar: TaskID | None = None
        self._trial_bar: TaskID | None = None
        self._index, self._count = 1, ""

    def __enter__(self) -> Self:
        self._progress.start()
        self._run_bar = self._progress.add_task("run", total=None, details="")
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, trial: PlannedTrial, index: int, total: int) -> None:
        assert self._run_bar is not None
        self._time_left.started(trial.spec.budget, index, total)
        self._index, self._count = index, f"trial {index} of {total}"
        self._progress.update(self._run_bar, total=total, completed=index - 1, details=self._count)
        self._remove_trial_bar()
        name = trial_name(trial)
        self._trial_bar = self._progress.add_task(name, total=1.0, details="starting")

    def progress(self, trial: PlannedTrial, progress: Progress) -> None:
        self._time_left.progress(progress)
        if self._trial_bar is None or self._run_bar is None:
            return
        fraction = 1.0 if progress.phase in _OWN_FRACTION else progress.fraction
        self._progress.update(self._trial_bar, completed=fraction, details=details(progress))
        parts = [self._count, time_left(self._time_left.seconds())]
        completed = self._index - 1 + fraction
        self._progress.update(self._run_bar, completed=completed, details=", ".join(filter(None, parts)))

    def ended(self, trial: PlannedTrial, record: RunRecord) -> None:
        self._remove_trial_bar()
        if self._run_bar is not None:
            self._progress.update(self._run_bar, completed=self._index)
        super().ended(trial, record)

    def _remove_trial_bar(self) -> None:
        if self._trial_bar is not None:
            self._progress.remove_task(self._trial_bar)
            self._trial_bar = None

    def _print(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False)


def details(progress: Progress) -> str:
    """Phase, loss and images a second, as far as they are known."""
    parts = [progress.phase]
    if progress.phase in _OWN_FRACTION:
        parts = [f"{progress.phase} {progress.fraction:.0%}"]
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.3f}")
    if progress.images_per_second is not None:
        parts.append(f"{progress.images_per_second:.1f} images/s")
    return ", ".join(parts)


def time_left(seconds: float | None) -> str:
    """The time until the whole run has ended, in words; empty where it is not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s left"
    minutes = round(seconds / 60)
    return f"{minutes} min left" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min left"
