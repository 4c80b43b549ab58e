"""Presets: TOML files that say how to train and evaluate. `--preset NAME` or `--preset FILE.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import HarnessError, nearest
from harness.options import Settings, first_problem
from harness.stacks import Resolved

_TABLES = ("training", "evaluation", "model")

_FOLDER = resources.files("harness.config") / "presets"
"""The folder of the presets that come with the harness."""

DEFAULT_PRESET = "quick"

AUTO = "auto"
"""The preset that is fitted to the data."""

ON_GPU = "standard"
"""What `auto` starts from on a GPU."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Training(_Table):
    """How all methods of a run are trained.

    crop: side of the square training crop in pixels of the images.
    batch: images in a training step.
    learning_rate: the largest one. It rises from `warmup_factor` of it over the fraction `warmup` of the budget, then
        falls to zero as `decay` says.
    clip_norm: largest norm of the whole gradient; 0 for no limit.
    """

    crop: int = Field(gt=0)
    batch: int = Field(gt=0)
    optimiser: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = Field(gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    warmup_factor: float = Field(default=0.01, ge=0, le=1)
    decay: Literal["constant", "linear", "cosine", "step"] = "cosine"
    clip_norm: float = Field(default=0.0, ge=0)


class Evaluation(_Table):
    """How a trained model is evaluated, and how often during training, off the clock.

    calibration, validation: fractions of the images.
    curve_fractions: fractions of the budget at which the IoU of `curve_images` validation images is measured.
    minimum_score: predictions with a lower score are not stored.
    """

    calibration: float = Field(default=0.1, gt=0, lt=1)
    validation: float = Field(default=0.2, gt=0, lt=1)
    curve_fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    curve_images: int = Field(default=8, ge=1)
    minimum_score: float = Field(default=0.05, ge=0, le=1)


Scale = Annotated[float, Field(gt=0, le=16)]
ImageSize = Annotated[str, Field(pattern=r"^[1-9][0-9]*x[1-9][0-9]*$")]


class InputSettings(Settings):
    """What the harness itself reads of a preset's [model] table, for every method."""

    scale: float = Field(1.0, gt=0, le=16, description="factor by which the network sees images resized")
    scale_by_size: dict[ImageSize, Scale] = Field(
        default_factory=dict, description="other factors for images of some sizes, by 'HEIGHTxWIDTH' in pixels"
    )


class Row(_Table):
    """One row of a preset that reproduces a published table. training: settings laid over those of the preset."""

    name: str
    method: str
    budget: str
    training: dict[str, Any] = Field(default_factory=dict)
    published: dict[str, str] = Field(default_factory=dict)


class Preset(_Table):
    """How to run methods.

    size: which preset size of the parts is used.
    budget, source, init: defaults of --budget, --data and --init, typed as there.
    model: InputSettings and settings of the engines, checked by `check_settings`.
    rows: the methods of a preset that reproduces a published table.
    fit: what was fitted to the data and why, a sentence each (harness.config.fit).
    """

    name: str
    description: str
    size: Literal["small", "full"]
    budget: str
    source: str = "synthetic"
    init: str = "scratch"
    training: Training
    evaluation: Evaluation = Evaluation()
    model: dict[str, Any] = Field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    fit: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_rows(self) -> Preset:
        for row in self.rows:
            self.training_of(row)
        return self

    @property
    def scale(self) -> float:
        """Factor by which the network sees images resized."""
        return InputSettings.read(self.model).scale

    @property
    def scale_by_size(self) -> dict[tuple[int, int], float]:
        """Other factors, by height and width of the image in pixels."""
        table = InputSettings.read(self.model).scale_by_size
        return {
            (int(height), int(width)): s for (height, _, width), s in ((k.partition("x"), s) for k, s in table.items())
        }

    def training_of(self, row: Row) -> Training:
        """The training settings with those of a row laid over them. Raises ValueError if they are no settings."""
        try:
            return Training.model_validate({**self.training.model_dump(), **row.training})
        except ValidationError as error:
            raise ValueError(f"row {row.name!r}: {first_problem(Training, error)}") from error


def preset_names() -> list[str]:
    """Names of the presets that come with the harness."""
    return sorted(p.name[:-5] for p in _FOLDER.iterdir() if p.name.endswith(".toml"))


def load_preset(name: str) -> Preset:
    """The preset of that name, or in that TOML file. Raises HarnessError with the setting to change."""
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise HarnessError(
                f"no preset file {name}; the presets that come with the harness: {', '.join(preset_names())}"
            )
        text, stem = path.read_text(encoding="utf-8"), path.stem
    else:
        if name not in preset_names():
            known = f"there are: {', '.join(preset_names())}, or the path of a .toml file"
            raise HarnessError(f"no preset {name!r}{nearest(name, preset_names())}; {known}")
        text, stem = _FOLDER.joinpath(f"{name}.toml").read_text(encoding="utf-8"), name
    try:
        return Preset(name=stem, **tomllib.loads(text))
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise HarnessError(f"preset {name}: {error}") from error
    except ValidationError as error:
        raise HarnessError(f"preset {name}: {first_problem(Preset, error)}") from error


def with_settings(preset: Preset, changes: Mapping[str, Any], where: str = "") -> Preset:
    """The preset with other values, by "training.crop" and the like. Raises HarnessError; where: begins its line."""
    plain = preset.model_dump()
    for key, value in changes.items():
        table, _, name = key.partition(".")
        if table not in _TABLES or not name:
            raise HarnessError(f"{where}{key!r} names no setting; type one of {', '.join(f'{t}.KEY' for t in _TABLES)}")
        plain[table][name] = value
    try:
        changed = Preset.model_validate(plain)
        InputSettings.read(changed.model, where)
    except ValidationError as error:
        raise HarnessError(f"{where}{first_problem(Preset, error)}") from error
    return changed


def with_typed_settings(preset: Preset, typed: Sequence[str]) -> Preset:
    """The preset with settings that were typed, as in "model.scale=0.5". Raises HarnessError."""
    changes: dict[str, Any] = {}
    for text in typed:
        key, equals, value = text.partition("=")
        if not equals:
            raise HarnessError(f"--set {text}: type it as in --set model.scale=0.5")
        try:
            changes[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            changes[key.strip()] = value.strip()
    return with_settings(preset, changes, "--set: ") if changes else preset


def check_settings(preset: Preset, resolved: Resolved) -> None:
    """Check a preset's [model] table against the engine that will read it.

    Keys that only another engine of the catalogue reads are allowed, so that one preset serves all methods of a run.

    Raises:
        HarnessError: no engine reads a key, or a value is outside its range. One line, with the nearest name.
    """
    where, known = (
        f"preset {preset.name}, table [model]: ",
        sorted({*resolved.known_settings, *InputSettings.model_fields}),
    )
    unknown = next((name for name in preset.model if name not in known), None)
    if unknown is not None:
        raise HarnessError(f"{where}no setting {unknown!r}{nearest(unknown, known)} (there are: {', '.join(known)})")
    InputSettings.read(preset.model, where)
    if resolved.recipe.engine.settings is not None:
        resolved.recipe.engine.settings.read(preset.model, where)
