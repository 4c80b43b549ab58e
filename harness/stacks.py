"""Reads what a user types for a method, `container+copy_paste(p=0.5)+pointsup`, and makes a recipe of it.

Python's own parser is no help here: `variant=49S`, `path=a/b.pt` and `timm:resnet34` are typed without quotes.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from harness.catalog import Catalog
from harness.contract import POLYGON_SECONDS, SLOTS, Init, Method, Part, Recipe, init_part
from harness.errors import HarnessError, nearest
from harness.options import path_options_of
from harness.redaction import public_path

ENGINES_OWN = Part("the engine's own", "")
"""The part of a slot that the engine does not read."""

ENGINE_READS = ("init", "backbone", "mask_head")
"""The slots that an engine builds. The other two act on data, and the harness builds them."""


@dataclass(frozen=True)
class Resolved:
    """A stack as it will run.

    name: the stack in one spelling, however it was typed.
    slots_changed: the slots that differ from the baseline; "engine" first if the engine does.
    labels: what an annotator must draw. label_seconds: how long one object takes.
    baseline: name of the catalogue's baseline.
    methods: those of the stack; the one with the engine first.
    known_settings: keys of a preset's [model] table that any engine of the catalogue reads.
    """

    name: str
    recipe: Recipe
    slots_changed: tuple[str, ...]
    labels: str
    baseline: str
    methods: tuple[Method, ...]
    known_settings: frozenset[str] = frozenset()
    label_seconds: float | None = None

    @property
    def reads_unlabelled(self) -> bool:
        """Whether a method of the stack learns from images without labels."""
        return any(method.reads_unlabelled for method in self.methods)

    def skip_reason(self) -> str | None:
        """Why the stack cannot run on this machine, by the first of its methods that cannot; None if it can."""
        reasons = (method.skip() for method in self.methods if method.skip is not None)
        return next((reason for reason in reasons if reason), None)

    def require_packages(self) -> None:
        """Raise HarnessError, one line with what to type, where a method needs a package that is not installed."""
        for method in self.methods:
            for module, command in method.missing().items():
                raise HarnessError(f"{method.name} needs the package {module}, which is not installed; type: {command}")


@dataclass(frozen=True)
class _Term:
    name: str
    options: dict[str, Any]

    def __str__(self) -> str:
        inside = ",".join(f"{key}={json.dumps(value)}" for key, value in self.options.items())
        return f"{self.name}({inside})" if inside else self.name

    def public(self, method: Method) -> str:
        """The term without private folders in the paths among its options."""
        paths = {name for part in method.parts.values() for name in path_options_of(part.options_type)}
        shown = {name: public_path(str(v)) if name in paths and v else v for name, v in self.options.items()}
        return str(_Term(self.name, shown))


def split_methods(text: str, catalog: Catalog) -> list[str]:
    """The stacks of a comma-separated list, each once. `all` stands for `Catalog.defaults`."""
    stacks: list[str] = []
    for piece in _split_outside_brackets(text, ","):
        stacks += catalog.defaults() if piece == "all" else [piece]
    if not stacks:
        raise HarnessError("no method named; say --methods all, or names from `python -m harness methods`")
    return list(dict.fromkeys(stacks))


def resolve(catalog: Catalog, text: str, size: str, init: Init | Part) -> Resolved:
    """The recipe of one stack.

    Args:
        catalog: The methods there are.
        text: As typed, such as "container+copy_paste(p=0.5)".
        size: "small" or "full", of the preset.
        init: What fills the init slot if no method of the stack does.

    Raises:
        HarnessError: one line: a name or an option is unknown, a value is outside its range, two methods change one
            slot, or the engine does not read a slot.
    """
    stack = [
        (_parse_term(piece), catalog.method(_parse_term(piece).name)) for piece in _split_outside_brackets(text, "+")
    ]
    baseline = catalog.baseline
    engines = [pair for pair in stack if "engine" in pair[1].parts]
    if len(engines) > 1:
        raise HarnessError(f"{text}: {engines[0][0].name} and {engines[1][0].name} each are an engine of their own")
    base_term, base = engines[0] if engines else (_Term(baseline.name, {}), baseline)
    changes = [pair for pair in stack if pair not in engines]
    by_slot = _one_method_a_slot(text, base, changes)

    parts = {slot: part.sized(size).checked() for slot, part in baseline.parts.items()}
    parts["init"] = init if isinstance(init, Part) else init_part(init.kind, init.path)
    if base is not baseline:
        parts |= {slot: ENGINES_OWN for slot in ENGINE_READS if slot not in base.supported_slots}
        parts |= {slot: part.sized(size) for slot, part in base.parts.items()}
    _apply_options(parts, base_term, base)
    for term, method in changes:
        parts |= {slot: part.sized(size) for slot, part in method.parts.items()}
        _apply_options(parts, term, method)

    order = sorted(by_slot, key=SLOTS.index)
    terms = list(dict.fromkeys(by_slot[slot][0].public(by_slot[slot][1]) for slot in order))
    if base is not baseline or base_term.options or not terms:
        terms.insert(0, base_term.public(base))
    methods = tuple({m.name: m for m in (base, *(by_slot[slot][1] for slot in order))}.values())
    labellers = [m for m in methods[1:] if m.card.labels != base.card.labels]
    own_labels = [m.card.labels for m in labellers]
    seconds = [_label_seconds(m, parts) for m in labellers or [base]]
    if own_labels:
        read_too = [m.card.also_reads for m in methods if m.card.also_reads]
        own_labels += read_too
        seconds += [POLYGON_SECONDS] if read_too else []
    return Resolved(
        name="+".join(terms),
        recipe=Recipe(**parts),
        slots_changed=(() if base is baseline else ("engine",)) + tuple(order),
        labels="; ".join(dict.fromkeys(own_labels)) or base.card.labels,
        baseline=baseline.name,
        methods=methods,
        known_settings=_known_settings(catalog),
        label_seconds=max(seconds),
    )


def _label_seconds(method: Method, parts: dict[str, Part]) -> float:
    """What an annotator takes for one object of a method's labels."""
    given = method.card.label_seconds
    if not callable(given):
        return given
    return given({name: value for slot in method.parts for name, value in parts[slot].options.items()})


def resolve_init(catalog: Catalog, text: str, size: str, where: str = "--init") -> Part:
    """The part of the init slot that `--init` or a preset names.

    Args:
        catalog: The methods there are.
        text: A method that changes the init slot, as in "coco" or "from_run(run=DIR)"; "imagenet:FILE", "coco:FILE",
            "checkpoint:FILE" and "checkpoint:RUN_DIR" too.
        size: "small" or "full", of the preset.
        where: Begins the message of an error.

    Raises:
        HarnessError: one line: there is no such method or file, or an option is wrong.
    """
    known = sorted({method.name for method in catalog if "init" in method.parts} | {"scratch", "checkpoint"})
    name, colon, path = text.partition(":")
    if "(" in name or not (colon or name == "checkpoint"):
        term = _parse_term(text)
    elif not path and name == "checkpoint":
        raise HarnessError(f"{where} checkpoint needs a run or a file: type checkpoint:RUN_DIR or checkpoint:FILE")
    elif name == "scratch":
        raise HarnessError(f"{where} scratch takes no path")
    elif name in known and not Path(path).exists():
        raise HarnessError(f"{where} {text}: no file {path}")
    elif name == "checkpoint" and Path(path).is_file():
        return init_part("checkpoint", str(Path(path).resolve()))
    else:
        term = _Term("from_run", {"run": path}) if name == "checkpoint" else _Term(name, {"weights": path})
    if term.name not in known:
        there = f"there are: {', '.join(known)}"
        raise HarnessError(f"{where} {text!r}: no kind {term.name!r}{nearest(term.name, known)}; {there}")
    if term.name == "scratch":
        return init_part("scratch")
    method = catalog.method(term.name)
    parts = {"init": method.parts["init"].sized(size)}
    _apply_options(parts, term, method)
    return parts["init"]


def _known_settings(catalog: Catalog) -> frozenset[str]:
    engines = [method.parts["engine"].settings for method in catalog if "engine" in method.parts]
    return frozenset(name for settings in engines if settings is not None for name in settings.model_fields)


def _one_method_a_slot(text: str, base: Method, changes: list[tuple[_Term, Method]]) -> dict[str, tuple[_Term, Method]]:
    by_slot: dict[str, tuple[_Term, Method]] = {}
    for term, method in changes:
        for slot in method.parts:
            if slot not in base.supported_slots:
                raise HarnessError(
                    f"{text}: {method.name} changes the slot {slot}, which the engine of {base.name} does not read"
                    f" (it reads: {', '.join(base.supported_slots) or 'none'})"
                )
            if slot in by_slot:
                raise HarnessError(f"{text}: {by_slot[slot][1].name} and {method.name} both change the slot {slot}")
            by_slot[slot] = (term, method)
    return by_slot


def _apply_options(parts: dict[str, Part], term: _Term, method: Method) -> None:
    """Put each option a user typed on all parts of the method that take it, and check all options of these parts."""
    for name, value in term.options.items():
        takers = {slot: _options_of(slot, parts[slot]) for slot in method.parts}
        takes = [slot for slot, names in takers.items() if names is None or name in names]
        if not takes:
            known = sorted({option for names in takers.values() for option in names or ()})
            raise HarnessError(
                f"{term.name} has no option {name!r}{nearest(name, known)} (it has: {', '.join(known) or 'none'})"
            )
        for slot in takes:
            parts[slot] = parts[slot].with_options(**{name: value})
    for slot in method.parts:
        parts[slot] = parts[slot].checked(f"{term.name}: ")


def _options_of(slot: str, part: Part) -> list[str] | None:
    """The names of a part's options; None where its factory takes any.

    Without a type they are the factory's arguments. One without a default that the part does not set is not an option:
    the engine gives it.
    """
    if part.options_type is not None:
        return list(part.options_type.model_fields)
    arguments = list(inspect.signature(part.load()).parameters.values())
    if any(a.kind is inspect.Parameter.VAR_KEYWORD for a in arguments):
        return None
    after_task = arguments[2 if slot == "engine" else 1 :]
    return [a.name for a in after_task if a.default is not a.empty or a.name in part.options]


# ------------------------------------------------------------------------------------------------- reading text


def _split_outside_brackets(text: str, mark: str) -> list[str]:
    """The pieces between marks outside brackets and quotes, without spaces around them and without empty ones."""
    return [piece.strip() for piece in _pieces(text, mark) if piece.strip()]


def _pieces(text: str, mark: str) -> Iterator[str]:
    depth, quote, start, escaped = 0, "", 0, False
    for i, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote and not escaped else quote
            escaped = letter == "\\" and not escaped
        elif letter in "'\"":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
            if depth < 0:
                _raise_unreadable(text, "a bracket closes that was not opened")
        elif letter == mark and depth == 0:
            yield text[start:i]
            start = i + 1
    if depth or quote:
        _raise_unreadable(text, "a quote is not closed" if quote else "a bracket is not closed")
    yield text[start:]


def _parse_term(text: str) -> _Term:
    name, bracket, rest = text.partition("(")
    if not bracket:
        return _Term(text, {})
    if not rest.endswith(")"):
        _raise_unreadable(text, "something follows the options")
    options = {}
    for piece in _split_outside_brackets(rest[:-1], ","):
        key, equals, value = piece.partition("=")
        if not equals or not key.strip().isidentifier():
            _raise_unreadable(text, f"{piece!r} is not name=value")
        options[key.strip()] = _parse_value(value.strip(), text)
    return _Term(name.strip(), options)


def _parse_value(text: str, where: str) -> Any:
    """A JSON value or Python literal; anything else is a string, so that `init=coco` needs no quotes."""
    words = {"true": True, "false": False, "null": None, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    value: Any = text
    for read in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, RecursionError):
            value = read(text)
            break
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        _raise_unreadable(where, f"{text!r} is not a number, a word, true, false or a list")


def _raise_unreadable(text: str, why: str) -> NoReturn:
    raise HarnessError(f"cannot read {text!r}: {why}; write it as 'container+copy_paste(p=0.5)', in quotes")
