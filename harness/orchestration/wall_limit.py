"""The wall-clock limit of a trial where the user sets none."""

from __future__ import annotations

from harness.config.budget import Budget
from harness.config.trial_spec import TrialSpec
from harness.results.schema import DataFacts

ALLOWANCE = 900.0
"""Seconds for what the budget does not count: start, data, warm-up, checkpoints, evaluation."""
SECONDS_PER_IMAGE = 2.0
"""Allowance for each image, which is predicted several times, on a slow machine."""
SECONDS_PER_ITERATION = 60.0
"""Where the budget counts iterations or epochs: a slower trial hangs."""
COMPILE_ALLOWANCE = 3600.0
"""Seconds of warm-up that no limit counts, where the preset compiles the network."""


def wall_limit(spec: TrialSpec, data: DataFacts) -> float:
    """Seconds from the start of the process: far more than a healthy trial takes, finite for one that hangs."""
    budget = Budget.parse(spec.budget)
    train = len(data.splits.get("train", ())) or data.images
    training = {
        "seconds": 2 * budget.amount,
        "iterations": SECONDS_PER_ITERATION * budget.amount,
        "epochs": SECONDS_PER_ITERATION * budget.amount * max(train / spec.preset.training.batch, 1),
    }[budget.kind]
    return ALLOWANCE + training + SECONDS_PER_IMAGE * data.images


def warm_up_allowance(spec: TrialSpec) -> float:
    """Seconds of warm-up that the wall-clock limit leaves out, set by the user or not."""
    return COMPILE_ALLOWANCE if dict(spec.preset.model).get("compile") else 0.0
