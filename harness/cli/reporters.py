"""What a person sees while a run goes on: bars on a screen, lines in a log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import click

from harness.monitoring.progress import Progress
from harness.orchestration.plan import PlannedTrial
from harness.orchestration.scheduler import Reporter
from harness.results.schema import RunRecord
from harness.results.status import FAILED

if TYPE_CHECKING:
    from rich.progress import TaskID


class Shown(Reporter, Protocol):
    """A reporter that holds the screen while it is entered."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


Tracker = Callable[[Path, RunRecord], str]
"""Told of each trial that has its record: the trial's folder and the record. It gives a line to say, or nothing."""


def reporter(run_dir: Path, quiet: bool, tracker: Tracker | None = None) -> Shown:
    """Bars where standard error is a screen, lines where it is not or `quiet` asks for them."""
    import sys

    return (Lines if quiet or not sys.stderr.isatty() else Bars)(run_dir, tracker)


def outcome(trial: PlannedTrial, record: RunRecord, run_dir: Path) -> str:
    """How a trial ended, in one line."""
    name = f"{record.method} seed {record.seed}"
    if record.status == "ok" and record.scores is not None:
        return f"{name}: IoU {record.scores.iou_map:.4f}, {record.cost.train_seconds:.0f} s of training"
    log = f" (log: {trial.folder(run_dir) / 'log.txt'})" if record.status in FAILED else ""
    return f"{name}: {record.status}: {record.reason}{log}"


class Lines:
    """A line when a trial starts, is a tenth further, and ends; on standard error."""

    def __init__(self, run_dir: Path, tracker: Tracker | None = None) -> None:
        self.run_dir, self._tracker = run_dir, tracker
        self._tenth = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def started(self, trial: PlannedTrial, index: int, total: int) -> None:
        self._tenth = -1
        self._say(f"[{index}/{total}] {trial.spec.method} seed {trial.spec.seed}: {trial.spec.budget}")

    def progress(self, trial: PlannedTrial, progress: Progress) -> None:
        tenth = int(10 * progress.fraction)
        if progress.phase != "training" or tenth == self._tenth:
            return
        self._tenth = tenth
        self._say(f"    {progress.fraction:4.0%}  {details(progress)}")

    def ended(self, trial: PlannedTrial, record: RunRecord) -> None:
        self._say(outcome(trial, record, self.run_dir))
        self._track(trial, record)

    def kept(self, trial: PlannedTrial, record: RunRecord) -> None:
        self._say(f"kept from before: {outcome(trial, record, self.run_dir)}")
        self._track(trial, record)

    def waiting(self, trial: PlannedTrial) -> None:
        self._say(f"another run works on {trial.name}; waiting for it")

    def stopping(self, times: int) -> None:
        self._say("stopping: the trial writes a checkpoint (once more to end it at once)" if times == 1 else "ending")

    def _track(self, trial: PlannedTrial, record: RunRecord) -> None:
        said = "" if self._tracker is None else self._tracker(trial.folder(self.run_dir), record)
        if said:
            self._say(f"warning: {said}")

    def _say(self, line: str) -> None:
        click.echo(line, err=True)


class Bars(Lines):
    """One bar for the run, one for the trial, under the lines of what has ended."""

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
        self._whole: TaskID | None = None
        self._trial: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        self._whole = self._progress.add_task("run", total=None, details="")
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, trial: PlannedTrial, index: int, total: int) -> None:
        assert self._whole is not None
        self._progress.update(self._whole, total=total, completed=index - 1, details=f"{index} of {total}")
        self._drop_trial()
        name = f"{trial.spec.method} seed {trial.spec.seed}"
        self._trial = self._progress.add_task(name, total=1.0, details="starting")

    def progress(self, trial: PlannedTrial, progress: Progress) -> None:
        if self._trial is not None:
            self._progress.update(self._trial, completed=progress.fraction, details=details(progress))

    def ended(self, trial: PlannedTrial, record: RunRecord) -> None:
        self._drop_trial()
        if self._whole is not None:
            self._progress.advance(self._whole)
        super().ended(trial, record)

    def _drop_trial(self) -> None:
        if self._trial is not None:
            self._progress.remove_task(self._trial)
            self._trial = None

    def _say(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False)


def details(progress: Progress) -> str:
    """Phase, loss, images a second, time left: what is known of them."""
    parts = [progress.phase]
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.3f}")
    if progress.images_per_second is not None:
        parts.append(f"{progress.images_per_second:.1f} images/s")
    if progress.seconds_left is not None:
        minutes, seconds = divmod(round(progress.seconds_left), 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    return ", ".join(parts)
