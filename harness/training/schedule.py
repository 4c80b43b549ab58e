"""The learning rate as a function of the fraction of the budget used, whatever the budget's unit is."""

from __future__ import annotations

import math

from harness.config.preset import Training

STEPS = (7 / 9, 25 / 27)
"""Where "step" divides the rate by ten: 210k and 250k of the 270k steps of the 3x schedule (He, Girshick, Dollar 2019,
arXiv 1811.08883, section 3)."""


def learning_rate(training: Training, used: float) -> float:
    """The rate at the fraction `used` (0 to 1) of the budget: linear warm-up, then the preset's `decay`.

    linear, cosine: to zero at the end. step: divided by ten at each of STEPS. constant: the peak rate.
    """
    peak = training.learning_rate
    if used < training.warmup:
        start = training.warmup_factor
        return peak * (start + (1 - start) * used / training.warmup)
    progress = min((used - training.warmup) / (1 - training.warmup), 1.0)
    if training.decay == "linear":
        return peak * (1 - progress)
    if training.decay == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * progress))
    if training.decay == "step":
        return float(peak * 0.1 ** sum(used >= step for step in STEPS))
    return peak
