"""Estimates the remaining time of a whole run while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean

from harness.config.budget import Budget
from harness.monitoring.progress import Progress

SILENT_BELOW = 0.02
"""Below this fraction of the first training there is no estimate."""
PREDICTING, SCORING = "predicting", "scoring"


@dataclass
class _Running:
    """A trial that runs. prediction_left: seconds, of its phases after training."""

    budget: Budget
    begin: float
    training_begin: float | None = None
    training_end: float | None = None
    fraction: float = 0.0
    prediction_left: float | None = None


@dataclass
class TimeLeft:
    """Told of every trial and its progress, by name; `seconds` is the estimate.

    Trials that are to come take as long as those that have ended, or as those that run. The training of a trial with
    a budget in seconds takes the budget, any other goes on at its pace.

    slots: how many trials run side by side; None where that is not known, so that as many do as are seen to.
    """

    clock: Callable[[], float] = time.monotonic
    slots: int | None = 1
    _running: dict[str, _Running] = field(default_factory=dict)
    _durations: list[float] = field(default_factory=list)
    _after_training: list[float] = field(default_factory=list)
    _trials_to_come: int = 0

    def started(self, name: str, budget: str, trials_to_come: int) -> None:
        """The trial has started, and so many have not yet."""
        self._trials_to_come = trials_to_come
        self._running[name] = _Running(Budget.parse(budget), self.clock())

    def progress(self, name: str, progress: Progress) -> None:
        """Update the progress of a running trial."""
        trial = self._running.get(name)
        if trial is None:
            return
        if progress.phase in (PREDICTING, SCORING):
            trial.training_end = trial.training_end or self.clock()
            trial.prediction_left = progress.seconds_left or 0.0
        elif progress.phase == "training":
            trial.training_begin = trial.training_begin or self.clock()
            trial.fraction = progress.fraction

    def ended(self, name: str, took_part: bool) -> None:
        """The trial has ended. took_part: whether it was trained at all."""
        trial = self._running.pop(name, None)
        if trial is not None and took_part:
            self._durations.append(self.clock() - trial.begin)
            if trial.training_end is not None:
                self._after_training.append(self.clock() - trial.training_end)

    def seconds(self) -> float | None:
        """Until the whole run has ended; None where too little is known."""
        lefts, wholes = [], []
        for trial in self._running.values():
            elapsed = self.clock() - trial.begin
            left = self._trial_left(trial, elapsed)
            if left is not None:
                lefts.append(left)
                wholes.append(elapsed + left)
        if not lefts:
            return None
        each = fmean(self._durations or wholes)
        unknown = len(self._running) - len(lefts)
        slots = self.slots or len(self._running)
        return max(*lefts, 0.0, (sum(lefts) + (unknown + self._trials_to_come) * each) / slots)

    def _trial_left(self, trial: _Running, elapsed: float) -> float | None:
        """Until a running trial has ended."""
        if trial.prediction_left is not None:
            return trial.prediction_left
        if trial.fraction < SILENT_BELOW:
            return max(fmean(self._durations) - elapsed, 0.0) if self._durations else None
        assert trial.training_begin is not None
        if trial.budget.kind == "seconds":
            training = trial.budget.amount * (1 - trial.fraction)
        else:
            training = (self.clock() - trial.training_begin) * (1 - trial.fraction) / trial.fraction
        return training + (fmean(self._after_training) if self._after_training else 0.0)
