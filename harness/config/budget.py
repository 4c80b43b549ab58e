"""The budget: the one thing that every method of a run gets the same amount of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from harness.errors import HarnessError

UNITS: dict[str, tuple[Literal["seconds", "iterations", "epochs"], float]] = {
    "s": ("seconds", 1.0),
    "m": ("seconds", 60.0),
    "h": ("seconds", 3600.0),
    "it": ("iterations", 1.0),
    "ep": ("epochs", 1.0),
}


@dataclass(frozen=True)
class Budget:
    """An amount of training: seconds on the training clock, optimiser steps, or passes over the training images."""

    kind: Literal["seconds", "iterations", "epochs"]
    amount: float

    @staticmethod
    def parse(text: str) -> Budget:
        """From "90s", "10m", "2h", "1000it" or "20ep". Raises HarnessError on anything else."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h|it|ep)", text.strip())
        if match is None or float(match[1]) <= 0:
            raise HarnessError(
                f"budget {text!r} is none: type a number above 0 and s, m, h, it or ep, as in 10m or 1000it"
            )
        kind, factor = UNITS[match[2]]
        return Budget(kind, float(match[1]) * factor)

    def used(self, seconds: float, iterations: int, iterations_per_epoch: float) -> float:
        """The fraction spent after so much time and so many steps; 1 or more means spent."""
        if self.kind == "seconds":
            return seconds / self.amount
        if self.kind == "iterations":
            return iterations / self.amount
        return iterations / (self.amount * iterations_per_epoch)
