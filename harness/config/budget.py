"""The training budget, which is the same for every method of a run."""

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
_OTHER_SPELLINGS = {
    "s": ("sec", "secs", "second", "seconds"),
    "m": ("min", "mins", "minute", "minutes"),
    "h": ("hr", "hrs", "hour", "hours"),
    "it": ("i", "its", "iter", "iters", "iteration", "iterations", "step", "steps"),
    "ep": ("e", "eps", "epoch", "epochs"),
}


@dataclass(frozen=True)
class Budget:
    """An amount of training: seconds on the training clock, optimiser steps, or passes over the training images."""

    kind: Literal["seconds", "iterations", "epochs"]
    amount: float

    @staticmethod
    def parse(text: str, name: str = "budget") -> Budget:
        """From "90s", "10m", "2h", "1000it" or "20ep". Raises HarnessError on anything else. name: said in its line."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h|it|ep)", text.strip())
        if match is None or float(match[1]) <= 0:
            raise HarnessError(f"{name} {text!r} cannot be read; type {_suggestion(text)}")
        kind, factor = UNITS[match[2]]
        return Budget(kind, float(match[1]) * factor)

    def used(self, seconds: float, iterations: float, iterations_per_epoch: float) -> float:
        """The fraction spent after so much time and so many steps; 1 or more means spent."""
        if self.kind == "seconds":
            return seconds / self.amount
        if self.kind == "iterations":
            return iterations / self.amount
        return iterations / (self.amount * iterations_per_epoch)


def _suggestion(text: str) -> str:
    """The budget that was probably meant, or how budgets are typed."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", text.strip().lower())
    if match is not None and float(match[1]) > 0:
        for unit, spellings in _OTHER_SPELLINGS.items():
            if match[2] in (unit, *spellings):
                return f"{match[1]}{unit}"
    return "a number above 0 and s, m, h, it or ep, as in 10m or 1000it"
