"""What training records besides weights: losses, times and learning rates of all steps, and the learning curve."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

CURVE = "curve.csv"
"""The trace's file in a trial's folder."""

SETTLING_STEPS = 5
"""First steps left out of the step times, while kernels are still being chosen and caches filled."""
FINAL_FRACTION = 0.05
"""The final loss is the mean over the last twentieth of the steps, since a single step is noisy."""

EVALUATION_SECONDS = "evaluation, seconds"
EVALUATIONS_LEFT_OUT = "evaluation, left out"
"""Names in `Trace.measured`: what the points of the learning curve took, and how many were left out to save time."""

FIT_SECONDS = "fit, seconds"
"""Name in `Trace.measured`: the training time of a model that does no step."""


@dataclass
class Trace:
    """One entry of each list a step.

    Attributes:
        seconds: of the training clock, after the step.
        wait: seconds that the step waited for its batch.
        rate: learning rate.
        losses: by name.
        curve: [fraction of the budget, seconds, step, IoU] of each evaluation during training.
        measured: sums of the sensors (harness.monitoring.sensor) and of the evaluations, by name.
    """

    seconds: list[float] = field(default_factory=list)
    wait: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    losses: dict[str, list[float]] = field(default_factory=dict)
    curve: list[list[float]] = field(default_factory=list)
    measured: dict[str, float] = field(default_factory=dict)

    def add(self, seconds: float, wait: float, rate: float, losses: dict[str, float]) -> None:
        for name, value in losses.items():
            # a loss that appears later than others has NaN for the steps before
            self.losses.setdefault(name, [float("nan")] * len(self.seconds)).append(value)
        self.seconds.append(seconds)
        self.wait.append(wait)
        self.rate.append(rate)
        for values in self.losses.values():
            if len(values) < len(self.seconds):
                values.append(float("nan"))

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def used_seconds(self) -> float:
        """Training time in seconds."""
        return self.seconds[-1] if self.seconds else self.measured.get(FIT_SECONDS, 0.0)

    def recent_step_seconds(self, steps: int) -> float:
        """Mean seconds of a step over the last 20 of the first `steps`; 0 where there are fewer than two."""
        recent = self.seconds[:steps][-20:]
        return (recent[-1] - recent[0]) / (len(recent) - 1) if len(recent) > 1 else 0.0

    def step_times(self) -> np.ndarray:
        """(n,) seconds of each step, without the first SETTLING_STEPS."""
        return np.diff(np.asarray([0.0, *self.seconds]))[min(SETTLING_STEPS, max(len(self) - 1, 0)) :]

    def final_losses(self) -> dict[str, float]:
        """Mean of each loss over the last steps."""
        last = max(1, round(len(self) * FINAL_FRACTION))
        means = {name: values[-last:] for name, values in self.losses.items()}
        return {name: float(np.nanmean(v)) for name, v in means.items() if not np.all(np.isnan(v))}

    def to_csv(self) -> str:
        names = list(self.losses)
        lines = [",".join(["step", "seconds", "data_wait", "learning_rate", *names])]
        for i in range(len(self)):
            values = (self.seconds[i], self.wait[i], self.rate[i], *(self.losses[n][i] for n in names))
            lines.append(",".join([str(i + 1), *(f"{v:.6g}" for v in values)]))
        return "\n".join(lines) + "\n"

    @staticmethod
    def from_csv(text: str) -> Trace:
        """The inverse of to_csv, without the curve. Raises ValueError or KeyError where the text is something else."""
        names, *rows = (line.split(",") for line in text.splitlines())
        columns = zip(*([float(value) for value in row] for row in rows), strict=True) if rows else [()] * len(names)
        table = {name: list(column) for name, column in zip(names, columns, strict=True)}
        table.pop("step")
        seconds, wait, rate = (table.pop(name) for name in ("seconds", "data_wait", "learning_rate"))
        return Trace(seconds, wait, rate, table)

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_plain(plain: dict[str, Any]) -> Trace:
        return Trace(**plain)
