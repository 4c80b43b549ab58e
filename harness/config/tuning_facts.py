"""What a run says of the tuning of its presets."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class TuningFacts(BaseModel):
    """How one method's preset was tuned by `tune`.

    Attributes:
        trials: how many settings were tried, the preset's own included.
        stopped_early, failed: how many of them did not reach the end of their budget, and how many failed.
        budget: training of each trial.
        sampler: "random" or "tpe".
        search: 12 hexadecimal digits; equal where space, trials, budget and early stopping were the same.
        seconds: on the training clock, of all trials together.
        best: highest IoU on the calibration images after each trial.
        split_fingerprint: of the split whose calibration images chose the setting.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    trials: int
    stopped_early: int
    failed: int
    budget: str
    sampler: str
    search: str
    seconds: float
    best: tuple[float, ...]
    split_fingerprint: str
