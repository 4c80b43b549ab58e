"""Presets: one TOML file each, for a person to read, copy and change. `--preset NAME` or `--preset FILE.toml`."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import HarnessError, nearest
from harness.options import first_problem
from harness.stacks import Resolved

_FOLDER = resources.files("harness.config") / "presets"
"""Where the presets lie that come with the harness."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Training(_Table):
    """How every method of a run is trained.

    crop: side of the square training crop, in pixels. batch: images a step. learning_rate: the peak one.
    warmup: fraction of the budget over which it rises; decay: how it falls to zero after that.
    clip_norm: largest norm of the whole gradient, 0 for none.
    """

    crop: int = Field(gt=0)
    batch: int = Field(gt=0)
    optimiser: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = Field(gt=0)
    momentum: float = 0.9
    weight_decay: float = Field(default=1e-4, ge=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    decay: Literal["constant", "linear", "cosine", "step"] = "cosine"
    clip_norm: float = Field(default=0.0, ge=0)


class Evaluation(_Table):
    """What is looked at after (and, off the clock, during) training.

    calibration, validation: fractions of the images. curve_fractions: when in the budget the validation IoU of
    curve_images images is taken. minimum_score: predictions below it are not stored.
    """

    calibration: float = Field(default=0.1, gt=0, lt=1)
    validation: float = Field(default=0.2, gt=0, lt=1)
    curve_fractions: tuple[float, ...] = ()
    curve_images: int = 8
    minimum_score: float = 0.05


class Row(_Table):
    """A named variation, where a preset is a list of rows to reproduce (the paper's table)."""

    name: str
    method: str
    budget: str
    training: dict[str, Any] = Field(default_factory=dict)
    published: dict[str, str] = Field(default_factory=dict)


class Preset(_Table):
    """A named way to run. size: which of a part's sizes is taken. model: what engines read (Task.settings)."""

    name: str
    description: str
    size: Literal["small", "full"]
    budget: str
    source: str = "synthetic"
    init: Literal["scratch", "imagenet", "coco"] = "scratch"
    training: Training
    evaluation: Evaluation = Evaluation()
    model: dict[str, Any] = Field(default_factory=dict)
    rows: tuple[Row, ...] = ()

    @model_validator(mode="after")
    def _check_rows(self) -> Preset:
        for row in self.rows:
            self.training_of(row)
        return self

    def training_of(self, row: Row) -> Training:
        """The training settings with those of a row laid over them. Raises ValueError if they are no settings."""
        try:
            return Training.model_validate({**self.training.model_dump(), **row.training})
        except ValidationError as error:
            raise ValueError(f"row {row.name!r}: {first_problem(Training, error)}") from error


def names() -> list[str]:
    """The presets that come with the harness."""
    return sorted(p.name[:-5] for p in _FOLDER.iterdir() if p.name.endswith(".toml"))


def load(name: str) -> Preset:
    """The preset of that name, or in that TOML file. Raises HarnessError with the line to change."""
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise HarnessError(f"no preset file {name}; the presets that come with the harness: {', '.join(names())}")
        text, stem = path.read_text(encoding="utf-8"), path.stem
    else:
        if name not in names():
            known = f"there are: {', '.join(names())}, or the path of a .toml file"
            raise HarnessError(f"no preset {name!r}{nearest(name, names())}; {known}")
        text, stem = _FOLDER.joinpath(f"{name}.toml").read_text(encoding="utf-8"), name
    try:
        return Preset(name=stem, **tomllib.loads(text))
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise HarnessError(f"preset {name}: {error}") from error
    except ValidationError as error:
        raise HarnessError(f"preset {name}: {first_problem(Preset, error)}") from error


def check_settings(preset: Preset, resolved: Resolved) -> None:
    """Check a preset's [model] table against the engine that will read it.

    Keys that only another engine of the catalogue reads are allowed, so that one preset serves all methods of a run.

    Raises:
        HarnessError: no engine reads a key, or a value is outside its range. One line, with the nearest name.
    """
    where, known = f"preset {preset.name}, table [model]: ", sorted(resolved.known_settings)
    unknown = next((name for name in preset.model if name not in known), None)
    if unknown is not None:
        raise HarnessError(f"{where}no setting {unknown!r}{nearest(unknown, known)} (there are: {', '.join(known)})")
    if resolved.recipe.engine.settings is not None:
        resolved.recipe.engine.settings.read(preset.model, where)
