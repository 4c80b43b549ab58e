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


MOST_BARS = 24
"""Running trials that have a line on the screen."""

Tracker = Callable[[Path, RunRecord], str]
"""Called with the folder and the record of each trial that has ended. Returns a warning to print, or nothing."""


def make_reporter(run_dir: Path, quiet: bool, tracker: Tracker | None = None, slots: int | None = 1) -> ScreenReporter:
    """Bars where standard error is a terminal, else lines.

    Args:
        run_dir: folder of the run.
        quiet: lines anywhere.
        tracker: told of each trial that has ended.
        slots: how many trials run side by side; None where that is not known.
    """
    import sys

    return (Lines if quiet or not sys.stderr.isatty() else Bars)(run_dir, tracker, slots)


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

    def __init__(self, run_dir: Path, tracker: Tracker | None = None, slots: int | None = 1) -> None:
        self.run_dir, self._tracker = run_dir, tracker
        self._alone = slots == 1
        self._time_left = TimeLeft(slots=slots)
        self._tenths: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def started(self, trial: PlannedTrial, index: int, total: int) -> None:
        self._time_left.started(trial.name, trial.spec.budget, total - index)
        self._print(f"[{index}/{total}] {trial_name(trial)}: {trial.spec.budget}")

    def progress(self, trial: PlannedTrial, progress: Progress) -> None:
        self._time_left.progress(trial.name, progress)
        tenth = int(10 * progress.fraction)
        if progress.phase != "training" or tenth == self._tenths.get(trial.name):
            return
        self._tenths[trial.name] = tenth
        parts = [details(progress), time_left(self._time_left.seconds())]
        name = "" if self._alone else f"{trial_name(trial)}: "
        self._print(f"    {name}{progress.fraction:4.0%}  {', '.join(filter(None, parts))}")

    def ended(self, trial: PlannedTrial, record: RunRecord) -> None:
        self._time_left.ended(trial.name, took_part=record.status != "skipped")
        self._tenths.pop(trial.name, None)
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
        who = "the trial writes a checkpoint" if self._alone else "the trials write a checkpoint each"
        first = f"stopping: {who} (once more to stop without it)"
        self._print(first if times == 1 else "stopping without a checkpoint")

    def _track(self, trial: PlannedTrial, record: RunRecord) -> None:
        warning = "" if self._tracker is None else self._tracker(trial.folder(self.run_dir), record)
        if warning:
            self._print(f"warning: {warning}")

    def _print(self, line: str) -> None:
        click.echo(line, err=True)


class Bars(Lines):
    """One bar for the run and one for each running trial, below the lines of the trials that have ended.

    Of very many running trials, MOST_BARS have a bar; the total counts all.
    """

    def __init__(self, run_dir: Path, tracker: Tracker | None = None, slots: int | None = 1) -> None:
        super().__init__(run_dir, tracker, slots)
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
        self._bars: dict[str, TaskID] = {}
        self._fractions: dict[str, float] = {}
        self._done = self._total = 0

    def __enter__(self) -> Self:
        self._progress.start()
        self._run_bar = self._progress.add_task("run", total=None, details="")
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, trial: PlannedTrial, index: int, total: int) -> None:
        self._time_left.started(trial.name, trial.spec.budget, total - index)
        self._total = total
        # a run that goes on has kept those before the first
        self._done = max(self._done, index - 1 - len(self._fractions))
        self._fractions[trial.name] = 0.0
        if len(self._bars) < MOST_BARS:
            self._bars[trial.name] = self._progress.add_task(trial_name(trial), total=1.0, details="starting")
        self._show_total()

    def progress(self, trial: PlannedTrial, progress: Progress) -> None:
        self._time_left.progress(trial.name, progress)
        if trial.name not in self._fractions:
            return
        fraction = 1.0 if progress.phase in _OWN_FRACTION else progress.fraction
        self._fractions[trial.name] = fraction
        if trial.name in self._bars:
            self._progress.update(self._bars[trial.name], completed=fraction, details=details(progress))
        self._show_total()

    def ended(self, trial: PlannedTrial, record: RunRecord) -> None:
        if trial.name in self._bars:
            self._progress.remove_task(self._bars.pop(trial.name))
        self._fractions.pop(trial.name, None)
        self._done += 1
        super().ended(trial, record)
        self._show_total()

    def _show_total(self) -> None:
        """How many trials have ended and run, and the time that is left."""
        assert self._run_bar is not None
        running = len(self._fractions)
        count = f"trial {min(self._done + 1, self._total)} of {self._total}"
        if not self._alone:
            count = f"{self._done} of {self._total} trials done, {running} running"
        parts = [count, time_left(self._time_left.seconds())]
        completed = self._done + sum(self._fractions.values())
        self._progress.update(
            self._run_bar, total=self._total, completed=completed, details=", ".join(filter(None, parts))
        )

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
