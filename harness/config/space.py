"""The space that `tune` searches: settings of a preset with ranges or choices, read from TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.config.preset import Preset, Training
from harness.errors import HarnessError, nearest
from harness.options import first_problem

Value = bool | int | float | str
"""What a setting may be."""

_DEFAULT = resources.files("harness.config") / "spaces" / "default.toml"
_KEYS = frozenset(("low", "high", "log", "choices"))
_HINT = "type it as in {low = 1e-4, high = 1e-2, log = true} or {choices = [1, 2]}"


class Parameter(BaseModel):
    """One setting that is searched: a range (low, high), by orders of magnitude where `log`, or choices.

    A range of whole numbers is one of whole numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: tuple[Value, ...] = Field(default=())

    @model_validator(mode="after")
    def _check(self) -> Parameter:
        if self.choices:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("has choices and a range; give one of them")
        elif self.low is None or self.high is None:
            raise ValueError(f"needs low and high, or choices: {_HINT}")
        elif not self.low < self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        elif self.log and self.low <= 0:
            raise ValueError(f"log needs a low above 0, not {self.low:g}")
        return self

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values that show whether all of it is allowed: both ends of a range, or every choice."""
        if self.choices:
            return self.choices
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high

    def contains(self, value: Any) -> bool:
        """Whether a search may come to this value."""
        if self.choices:
            return value in self.choices
        assert self.low is not None
        assert self.high is not None
        return isinstance(value, int | float) and self.low <= value <= self.high


class SearchSpace(BaseModel):
    """parameters: by the dotted name of the setting, such as training.learning_rate."""

    model_config = ConfigDict(frozen=True)

    parameters: dict[str, Parameter]

    def own_values(self, preset: Preset) -> dict[str, Any]:
        """What the preset has for these settings. A setting of [model] that it leaves to the engine is None."""
        plain = preset.model_dump(mode="json")
        return {name: plain[table].get(key) for name in self.parameters for table, _, key in [name.partition(".")]}

    def contains(self, values: Mapping[str, Any]) -> bool:
        """Whether all values lie in the space."""
        return all(parameter.contains(values.get(name)) for name, parameter in self.parameters.items())


def load_space(path: Path | None, known_settings: Collection[str], preset: Preset) -> SearchSpace:
    """The space in a TOML file, checked against the preset.

    Args:
        path: the file; None for the space that comes with the harness.
        known_settings: keys that a [model] table may have.
        preset: the ends of every range and every choice must be allowed in it.

    Raises:
        HarnessError: the file cannot be read, or a name or value is wrong; one line, with the nearest name.
    """
    where = "the default space" if path is None else str(path)
    if path is not None and not path.is_file():
        raise HarnessError(f"--space: no file {path}")
    try:
        plain = tomllib.loads((_DEFAULT if path is None else path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HarnessError(f"{where}: {error}") from error
    parameters = {}
    known = [*(f"training.{name}" for name in Training.model_fields), *(f"model.{name}" for name in known_settings)]
    for name, given in _flattened(plain):
        if name not in known:
            also = " (only settings of [training] and [model] are searched)" if "." not in name else ""
            raise HarnessError(f"{where}: no setting {name!r}{nearest(name, known)}{also}")
        if not isinstance(given, dict):
            raise HarnessError(f"{where}: {name}: {_HINT}")
        try:
            parameters[name] = Parameter.model_validate(given)
        except ValidationError as error:
            raise HarnessError(f"{where}: {name}: {first_problem(Parameter, error)}") from error
        for value in parameters[name].ends:
            with_values(preset, {name: value}, where)
    if not parameters:
        raise HarnessError(f"{where}: holds no setting; {_HINT}")
    return SearchSpace(parameters=parameters)


def with_values(preset: Preset, values: Mapping[str, Any], where: str = "") -> Preset:
    """The preset with other values of some settings. Raises HarnessError where one is not allowed."""
    tables: dict[str, dict[str, Any]] = {"training": preset.training.model_dump(), "model": dict(preset.model)}
    for name, value in values.items():
        table, _, key = name.partition(".")
        if value is not None:
            tables[table][key] = value
    try:
        training = Training.model_validate(tables["training"])
    except ValidationError as error:
        raise HarnessError(f"{where}: training: {first_problem(Training, error)}") from error
    return preset.model_copy(update={"training": training, "model": tables["model"]})


def _flattened(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of nested tables by their dotted names."""
    for key, value in table.items():
        if isinstance(value, dict) and value and not _KEYS & value.keys():
            yield from _flattened(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
