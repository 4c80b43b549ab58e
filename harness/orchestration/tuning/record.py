"""What `tune` leaves: every setting that was tried, with its score, and the one that was chosen for each method."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.config.preset import DEFAULT_PRESET, Preset
from harness.config.space import SearchSpace, with_values
from harness.config.tuning_facts import TuningFacts
from harness.errors import HarnessError
from harness.fileio import write_json_atomic
from harness.redaction import redact_home
from harness.results.io import read_json
from harness.results.schema import RunRecord, Status

TUNING = "tuning.json"
SCHEMA_VERSION = 1


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TriedTrial(_Model):
    """One setting of one method.

    Attributes:
        number: 0 for the preset's own setting.
        values: by the dotted name of the setting.
        looks: IoU on calibration images along the training.
        iou: IoU on the calibration images at the end; None where the trial did not reach it.
        seconds: on the training clock.
    """

    number: int
    values: dict[str, Any]
    status: Status
    reason: str = ""
    looks: tuple[float, ...] = ()
    iou: float | None = None
    seconds: float = 0.0

    @classmethod
    def of(cls, number: int, values: dict[str, Any], record: RunRecord) -> TriedTrial:
        """From the record of the trial."""
        points = [point.iou_map for point in record.learning_curve]
        good = record.status == "ok" and record.scores is not None
        return cls(
            number=number,
            values=values,
            status=record.status,
            reason=record.reason,
            # the last point of a trial that ended well is the end itself
            looks=tuple(points[:-1] if good else points),
            iou=record.scores.iou_map if good and record.scores else None,
            seconds=record.cost.train_seconds or 0.0,
        )

    @property
    def last_iou(self) -> float | None:
        """The newest that is known."""
        return self.iou if self.iou is not None else next(iter(self.looks[::-1]), None)


class TunedMethod(_Model):
    """One method. preset_file: relative to the folder."""

    method: str
    preset_file: str
    trials: tuple[TriedTrial, ...] = ()

    @property
    def chosen(self) -> TriedTrial | None:
        """The trial with the highest IoU, the earliest of equals; None where none ended well."""
        good = [trial for trial in self.trials if trial.iou is not None]
        return max(good, key=lambda trial: (trial.iou or 0.0, -trial.number), default=None)

    @property
    def best_so_far(self) -> list[float]:
        """Highest IoU after each trial, from the first that ended well on."""
        best, found = None, []
        for trial in self.trials:
            if trial.iou is not None and (best is None or trial.iou > best):
                best = trial.iou
            found.append(best)
        return [value for value in found if value is not None]


class TuningRecord(_Model):
    """A search. preset: what all methods started from. split_fingerprint: whose calibration images chose."""

    schema_version: int = SCHEMA_VERSION
    command: str
    created: str
    finished: str = ""
    preset: Preset
    budget: str
    trials: int
    sampler: Literal["random", "tpe"]
    early_stopping: bool
    seed: int
    space: SearchSpace
    source: str
    data_fingerprint: str
    split_fingerprint: str
    calibration_images: int
    methods: tuple[TunedMethod, ...]

    def base_preset(self, typed: str) -> Preset:
        """What every method started from. typed: --preset of the run, which must be the same or the default."""
        if typed not in (DEFAULT_PRESET, self.preset.name):
            raise HarnessError(
                f"--preset {typed}: the presets of --tuned were made from {self.preset.name}; leave --preset out"
            )
        return self.preset.model_copy(update={"budget": self.budget})

    def preset_of(self, method: str) -> tuple[Preset, TuningFacts | None]:
        """The method's preset and how it was tuned; the common preset where it was not."""
        found = next((one for one in self.methods if one.method == method), None)
        base = self.base_preset(self.preset.name)
        if found is None or found.chosen is None:
            return base, None
        tuned = with_values(base, found.chosen.values)
        return tuned.model_copy(update={"name": f"{base.name} (tuned)"}), self.facts_of(found)

    @property
    def tuned_methods(self) -> list[str]:
        """Those with a trial that ended well."""
        return [method.method for method in self.methods if method.chosen is not None]

    def facts_of(self, method: TunedMethod) -> TuningFacts:
        """What the records of a run say of the method's tuning."""
        search = [self.space.model_dump(), self.budget, self.sampler, self.early_stopping, len(method.trials)]
        return TuningFacts(
            trials=len(method.trials),
            stopped_early=sum(trial.status == "pruned" for trial in method.trials),
            failed=sum(trial.status not in ("ok", "pruned") for trial in method.trials),
            budget=self.budget,
            sampler=self.sampler,
            search=hashlib.sha256(json.dumps(search, sort_keys=True).encode()).hexdigest()[:12],
            seconds=sum(trial.seconds for trial in method.trials),
            best=tuple(method.best_so_far),
            split_fingerprint=self.split_fingerprint,
        )


def write_tuning(folder: Path, record: TuningRecord) -> None:
    """Write the record into its folder. Raises StorageError."""
    write_json_atomic(folder / TUNING, redact_home(record.model_dump(mode="json")))


def read_tuning(folder: Path) -> TuningRecord:
    """The record in a folder of `tune`. Raises HarnessError where there is none or it is damaged."""
    path = folder / TUNING
    if not path.is_file():
        raise HarnessError(f"{folder} holds no {TUNING}; `python -m harness tune` makes such a folder")
    try:
        return TuningRecord.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        raise HarnessError(f"{path}: {'.'.join(str(step) for step in first['loc'])}: {first['msg']}") from error
