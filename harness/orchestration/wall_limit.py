"""How long a trial may take on the wall clock, where the user does not say."""

from __future__ import annotations

from harness.config.budget import Budget
from harness.config.trial_spec import TrialSpec
from harness.results.schema import DataFacts

ALLOWANCE = 900.0
"""Seconds for what the budget's clock does not count: start, data, warm-up, checkpoints, evaluation."""
SECONDS_AN_IMAGE = 2.0
"""For each image that is predicted on, on the slowest machine we would wait for."""
SECONDS_AN_ITERATION = 60.0
"""Where the budget counts iterations or epochs: slower than this is a hang."""


def wall_limit(spec: TrialSpec, data: DataFacts) -> float:
    """Seconds from the start of the process: far more than a healthy trial needs, finite for one that hangs."""
    budget = Budget.parse(spec.budget)
    train = len(data.splits.get("train", ())) or data.images
    seconds = {
        "seconds": 2 * budget.amount,
        "iterations": SECONDS_AN_ITERATION * budget.amount,
        "epochs": SECONDS_AN_ITERATION * budget.amount * max(train / spec.preset.training.batch, 1),
    }[budget.kind]
    return ALLOWANCE + seconds + SECONDS_AN_IMAGE * data.images
