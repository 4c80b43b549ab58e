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
class TimeLeft:
    """Told of every trial and its progress; `seconds` is the estimate.

    Trials that are to come take as long as those that have ended, or as the present one. The training of a trial with
    a budget in seconds takes the budget, any other goes on at its pace.
    """

    clock: Callable[[], float] = time.monotonic
    _durations: list[float] = field(default_factory=list)
    _after_training: list[float] = field(default_factory=list)
    _trials_to_come: int = 0
    _begin: float | None = None

    def started(self, budget: str, index: int, total: int) -> None:
        """The trial with this number, counted from 1, has started."""
        self._budget = Budget.parse(budget)
        self._trials_to_come = total - index
        self._begin = self.clock()
        self._training_begin: float | None = None
        self._training_end: float | None = None
        self._fraction = 0.0
        self._prediction_left: float | None = None

    def progress(self, progress: Progress) -> None:
        """Update the progress of the present trial."""
        if progress.phase in (PREDICTING, SCORING):
            self._training_end = self._training_end or self.clock()
            self._prediction_left = progress.seconds_left or 0.0
        elif progress.phase == "training":
            self._training_begin = self._training_begin or self.clock()
            self._fraction = progress.fraction

    def ended(self, took_part: bool) -> None:
        """The present trial has ended. took_part: whether it was trained at all."""
        if self._begin is not None and took_part:
            self._durations.append(self.clock() - self._begin)
            if self._training_end is not None:
                self._after_training.append(self.clock() - self._training_end)
        self._begin = None

    def seconds(self) -> float | None:
        """Until the whole run has ended; None where too little is known."""
        if self._begin is None:
            return None
        elapsed = self.clock() - self._begin
        left = self._trial_left(elapsed)
        if left is None:
            return None
        each = fmean(self._durations) if self._durations else elapsed + left
        return left + self._trials_to_come * each

    def _trial_left(self, elapsed: float) -> float | None:
        """Until the present trial has ended."""
        if self._prediction_left is not None:
            return self._prediction_left
        if self._fraction < SILENT_BELOW:
            return max(fmean(self._durations) - elapsed, 0.0) if self._durations else None
        assert self._training_begin is not None
        if self._budget.kind == "seconds":
            training = self._budget.amount * (1 - self._fraction)
        else:
            training = (self.clock() - self._training_begin) * (1 - self._fraction) / self._fraction
        return training + (fmean(self._after_training) if self._after_training else 0.0)
