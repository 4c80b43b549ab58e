"""A record as a trial begins it: what was asked, and of which machine."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from harness.config.trial_spec import TrialSpec
from harness.monitoring.machine import git_commit, machine_facts, package_versions
from harness.results.schema import RunRecord, Status


def new_record(spec: TrialSpec, status: Status, reason: str = "", **fields: Any) -> RunRecord:
    """A record of the trial with what its specification and the machine say; `fields` are laid over that."""
    facts: dict[str, Any] = {
        "key": spec.key,
        "status": status,
        "reason": reason,
        "method": spec.method,
        "seed": spec.seed,
        "preset": spec.preset.name,
        "budget": spec.budget,
        "command": spec.command,
        "recipe": spec.recipe,
        "settings": settings(spec),
        "slots_changed": spec.slots_changed,
        "labels": spec.labels,
        "baseline": spec.baseline,
        "machine": machine_facts(),
        "versions": package_versions(),
        "git_commit": git_commit(),
        "finished": now(),
    }
    return RunRecord(**{**facts, **fields})


def settings(spec: TrialSpec) -> dict[str, Any]:
    """Everything but the recipe that decides how the trial is trained and scored."""
    preset = spec.preset.model_dump(mode="json", include={"size", "init", "training", "evaluation", "model"})
    own = spec.model_dump(mode="json", include={"device", "deterministic", "precision", "threshold", "micro_batches", "skip_bad"})
    return {**preset, **own}


def notes(spec: TrialSpec) -> list[str]:
    """What a reader of the cost must know of how the trial was run."""
    if spec.micro_batches == 1:
        return []
    return [f"each batch worked through in {spec.micro_batches} parts to save memory; the effective batch is the same"]


def now() -> str:
    """Date and time in UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
