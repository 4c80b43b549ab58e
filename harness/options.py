"""Typed options: what may be set, its default, its range and one line of help, stated once.

A part of a recipe and the [model] table of a preset are both described by a subclass of `Options`. The record, the
check of what a user types and the table that `python -m harness methods NAME` prints are made from it.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import HarnessError, nearest

OptionsT = TypeVar("OptionsT", bound="Options")


class Options(BaseModel):
    """The options of a part. A subclass names each one: `depth: Literal[10, 20] = Field(20, description="of what")`.

    Values are JSON values. Nothing is converted but whole numbers to float.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def recorded(self) -> dict[str, Any]:
        """The values as a record holds them: all, but those declared by `recorded_if_set` only if they were set."""
        unset = {name for name in _fields_marked(type(self), "recorded_if_set") if name not in self.model_fields_set}
        return self.model_dump(mode="json", exclude=unset)


class Settings(Options):
    """What an engine reads of a preset's [model] table. for_checks: values that harness.conformance trains with."""

    for_checks: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def read(cls, table: Mapping[str, Any], where: str = "preset's [model] table: ") -> Self:
        """From a whole [model] table; keys of other engines are left out. Raises HarnessError as `validate` does."""
        return validate(cls, {name: value for name, value in table.items() if name in cls.model_fields}, where)


def recorded_if_set(default: Any, **limits: Any) -> Any:
    """A pydantic Field that a record leaves out unless it was set, so that rows of a table stay short."""
    return Field(default, json_schema_extra={"recorded_if_set": True}, **limits)


def path_option(default: Any, **limits: Any) -> Any:
    """A pydantic Field for the path of a file or a folder. A record leaves it out unless it was set.

    Names and records show it without private folders, and what makes two trials the same work is the content of the
    file.
    """
    return Field(default, json_schema_extra={"recorded_if_set": True, "path": True}, **limits)


def path_options_of(kind: type[BaseModel] | None) -> list[str]:
    """The names of the fields declared by `path_option`."""
    return [] if kind is None else _fields_marked(kind, "path")


def _fields_marked(kind: type[BaseModel], mark: str) -> list[str]:
    extras = {name: field.json_schema_extra for name, field in kind.model_fields.items()}
    return [name for name, extra in extras.items() if isinstance(extra, dict) and extra.get(mark)]


def validate(kind: type[OptionsT], values: Mapping[str, Any], where: str = "") -> OptionsT:
    """The values as one typed object.

    Args:
        kind: what the values must be.
        values: JSON values by name.
        where: begins the error line, such as "copy_paste: ".

    Raises:
        HarnessError: one line that names the option and its range, or the nearest name.
    """
    try:
        # JSON, since a strict model takes a list for a tuple from nothing else
        return kind.model_validate_json(json.dumps(dict(values)))
    except ValidationError as error:
        raise HarnessError(where + first_problem(kind, error)) from error


def options_type_of(factory: Callable[..., Any]) -> type[Options] | None:
    """The type of a function's argument `options`; None where it has none and takes plain keyword arguments."""
    argument = inspect.signature(factory).parameters.get("options")
    kind = None if argument is None else argument.annotation
    if isinstance(kind, str):
        kind = getattr(factory, "__globals__", {}).get(kind)
    return kind if isinstance(kind, type) and issubclass(kind, Options) else None


# ------------------------------------------------------------------------------------------- in words


@dataclass(frozen=True)
class OptionHelp:
    """What a person should know of one option. default: a JSON value; range: in words; empty where nothing is known."""

    name: str
    default: Any
    range: str = ""
    help: str = ""


def describe(kind: type[Options], values: Mapping[str, Any]) -> list[OptionHelp]:
    """Every option of a type. values: defaults that a part lays over those of the type."""
    defaults = {
        **{name: field.default for name, field in kind.model_fields.items() if not field.is_required()},
        **values,
    }
    return [
        OptionHelp(name, defaults.get(name), range_of(kind, name), field.description or "")
        for name, field in kind.model_fields.items()
    ]


def first_problem(kind: type[BaseModel], error: ValidationError) -> str:
    """The first of the problems that pydantic found, in one line that says what to type."""
    problems = error.errors()
    # a mistyped name is a missing one too
    first = next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])
    owner, path = _owner(kind, first["loc"])
    inside = "" if path[-1:] != [*first["loc"]][-1:] else f"={first['input']!r}"
    name, known = ".".join(path), owner.model_fields
    match first["type"]:
        case "extra_forbidden":
            return f"no option {name!r}{nearest(path[-1], known)} (there are: {', '.join(known)})"
        case "missing" if inside:
            return f"{name} is missing"
        case "value_error":
            return f"{name}: {first['ctx']['error']}" if name else str(first["ctx"]["error"])
        case _ if path and path[-1] in known:
            return f"{name}{inside} must be {range_of(owner, path[-1])}"
    return f"{name}: {first['msg']}"


def _owner(kind: type[BaseModel], location: Sequence[int | str]) -> tuple[type[BaseModel], list[str]]:
    """The model that holds the field at a pydantic location, and the names of the fields that lead there."""
    names: list[str] = []
    for step in location:
        if isinstance(step, int):
            continue
        names.append(step)
        annotation = kind.model_fields[step].annotation if step in kind.model_fields else None
        inner = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)]
        if not inner:
            break
        kind = inner[0]
    return kind, names


def range_of(kind: type[BaseModel], name: str) -> str:
    """What a field may be, in words: "a number from 0 to 1", "one of BN, GN", "a whole number, 1 or more"."""
    return _words(kind.model_json_schema()["properties"][name])


def _words(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return ", or ".join(map(_words, schema["anyOf"]))
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if "const" in schema:
        return str(schema["const"])
    match schema.get("type"):
        case "integer":
            return f"a whole number{_limits(schema)}"
        case "number":
            return f"a number{_limits(schema)}"
        case "array" if "prefixItems" in schema:
            return f"a list of {len(schema['prefixItems'])}, each {_words(schema['prefixItems'][0])}"
        case "array":
            return f"a list, each {_words(schema.get('items', {}))}"
    return {"boolean": "true or false", "string": "text", "null": "none", "object": "a table"}.get(
        schema.get("type", ""), "any value"
    )


def _limits(schema: Mapping[str, Any]) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        text = f" from {low:g} to {high:g}"
    else:
        forms = ((above, " above {:g}"), (low, ", {:g} or more"), (below, " below {:g}"), (high, ", {:g} at most"))
        text = "".join(form.format(limit) for limit, form in forms if limit is not None)
    return text + (f", a multiple of {schema['multipleOf']:g}" if "multipleOf" in schema else "")
