"""The specification of one trial, as JSON: all that the worker process needs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import PurePath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from harness.config.precision import Precision
from harness.config.preset import Preset
from harness.config.protocol import ScoringProtocol
from harness.config.split_spec import SplitSpec
from harness.config.start_facts import StartFacts
from harness.config.tuning_facts import TuningFacts
from harness.config.unlabelled_facts import UnlabelledFacts
from harness.contract import INIT, Part, Recipe
from harness.redaction import is_absolute, public_path


class TrialSpec(BaseModel):
    """One trial of the plan.

    recipe: see recipe_to_json. budget: "90s", "10m", "2h", "1000it" or "20ep". device: "cpu", "mps" or "cuda[:N]".
    split_fingerprint, data_fingerprint: compared with those of the data that the worker has loaded.
    split: how the images are divided.
    folds_key: the key that all folds of a method and seed share; empty without folds.
    precision: what is asked for; the record says what it came to.
    threshold: a fixed score threshold, or None to choose it on the calibration images.
    baseline: the name of the method that others are compared with.
    label_seconds: what an annotator takes to draw `labels` for one object.
    micro_batches: number of parts that each batch is divided into, to save memory.
    score_on: the split that is scored. Trials of `tune` are scored on the calibration images, and predict no others.
    protocol: a published evaluation whose scores are computed besides.
    earlier_looks: of a trial of `tune`, the IoU of each earlier trial of the method at its points of the learning
        curve; the trial is stopped early where it falls behind them. None for a trial that is never stopped early.
    tuned: how the preset was tuned for the method; None where it was not.
    start: the weights that it starts from; None from scratch. The path of their file is in the recipe.
    unlabelled: the images without labels, for a method that learns from them; None for any other.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    method: str
    seed: int
    source: str
    split: SplitSpec = SplitSpec()
    folds_key: str = ""
    skip_bad: bool = False
    data_fingerprint: str
    split_fingerprint: str
    budget: str
    preset: Preset
    recipe: dict[str, Any]
    slots_changed: list[str]
    labels: str = ""
    label_seconds: float | None = None
    baseline: str = ""
    device: str = "cpu"
    deterministic: bool = False
    precision: Precision = "auto"
    threshold: float | None = None
    micro_batches: int = Field(default=1, ge=1)
    command: str = ""
    checkpoint_seconds: float = 120.0
    tensorboard: bool = False
    score_on: Literal["validation", "calibration"] = "validation"
    protocol: ScoringProtocol = ""
    earlier_looks: tuple[tuple[float, ...], ...] | None = None
    tuned: TuningFacts | None = None
    start: StartFacts | None = None
    unlabelled: UnlabelledFacts | None = None

    def settings(self) -> dict[str, Any]:
        """Everything but the recipe that decides how the trial is trained and scored."""
        preset = self.preset.model_dump(mode="json", include={"size", "init", "training", "evaluation", "model"})
        preset["init"] = preset["init"].partition(":")[0]  # no path
        own = {"device", "deterministic", "precision", "threshold", "micro_batches", "skip_bad", "score_on"}
        labels = {"labelled_images": self.split.labels} if self.split.labels else {}
        return {**preset, **self.model_dump(mode="json", include=own), **labels}

    def cost_notes(self) -> list[str]:
        """What a reader of the trial's cost must know of how it was run."""
        fit = [f"fitted to the data: {'; '.join(self.preset.fit)}"] if self.preset.fit else []
        if self.micro_batches == 1:
            return fit
        parts = f"each batch worked through in {self.micro_batches} parts to save memory"
        return [*fit, f"{parts}; the effective batch is the same"]


def recipe_to_json(recipe: Recipe) -> dict[str, Any]:
    """Slot by slot: name, factory and options."""
    plain = {}
    for slot in dataclasses.fields(recipe):
        part: Part = getattr(recipe, slot.name)
        plain[slot.name] = {"name": part.name, "factory": part.factory, "options": dict(part.options)}
    return plain


def recipe_from_json(plain: dict[str, Any]) -> Recipe:
    """The inverse of recipe_to_json."""
    return Recipe(**{slot: Part(**part) for slot, part in plain.items()})


def public_recipe(plain: dict[str, Any]) -> dict[str, Any]:
    """A recipe as a record holds it: no part names a private folder. plain: see recipe_to_json."""
    return {slot: {**part, "options": _public_options(part)} for slot, part in plain.items()}


def _public_options(part: dict[str, Any]) -> dict[str, Any]:
    options = {n: public_path(v) if isinstance(v, str) and is_absolute(v) else v for n, v in part["options"].items()}
    if part["factory"] == INIT and options.get("sha256"):
        options["path"] = PurePath(options["path"]).name
    return options


def trial_key(**facts: Any) -> str:
    """The resume key: 16 hexadecimal digits of a hash of everything that makes two trials the same work."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
