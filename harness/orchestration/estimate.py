"""What a plan will take, as far as that can be known before: from its budget and from earlier records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from harness.config.budget import Budget
from harness.orchestration.plan import PlannedTrial
from harness.results.schema import RunRecord


@dataclass(frozen=True)
class Estimate:
    """training_seconds: the budget's, or by the pace of earlier records; whole_seconds: with start and evaluation.

    host_bytes, gpu_bytes: the largest peaks of earlier records. None where nothing is known.
    """

    trial: PlannedTrial
    training_seconds: float | None
    whole_seconds: float | None
    host_bytes: int | None
    gpu_bytes: int | None


def estimates(trials: Sequence[PlannedTrial], earlier: Iterable[RunRecord]) -> list[Estimate]:
    """One estimate a trial. Only good records of the same method, settings and machine's device count."""
    good = [record for record in earlier if record.status == "ok"]
    return [_estimate(trial, [record for record in good if _alike(trial, record)]) for trial in trials]


def _alike(trial: PlannedTrial, record: RunRecord) -> bool:
    spec = trial.spec
    return (
        record.method == spec.method
        and record.preset == spec.preset.name
        and str(record.settings.get("device", "")).partition(":")[0] == spec.device.partition(":")[0]
    )


def _estimate(trial: PlannedTrial, records: list[RunRecord]) -> Estimate:
    budget = Budget.parse(trial.spec.budget)
    training: float | None = None
    if budget.kind == "seconds":
        training = budget.amount
    elif budget.kind == "iterations":
        pace = [r.cost.seconds_per_iteration for r in records if r.cost.seconds_per_iteration is not None]
        training = budget.amount * median(pace) if pace else None
    beside = [r.wall_seconds - r.cost.train_seconds for r in records if r.wall_seconds is not None]
    known = training is not None and beside
    return Estimate(
        trial,
        training,
        (training or 0.0) + median(beside) if known else None,
        max((r.cost.peak_host_rss for r in records if r.cost.peak_host_rss), default=None),
        max((r.cost.peak_gpu_reserved for r in records if r.cost.peak_gpu_reserved), default=None),
    )
