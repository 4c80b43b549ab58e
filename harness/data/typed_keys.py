"""What is typed after the name of a source that draws its images: `images=60,size=520x704,seed=1`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from harness.errors import HarnessError, nearest, one_line

Read = Callable[[str], object]
"""From the text of a value to the value. Raises HarnessError."""


def parse_keys(kind: str, text: str, keys: Mapping[str, Read]) -> dict[str, object]:
    """The values by key. Raises HarnessError, which begins with `kind` and names the key."""
    given: dict[str, object] = {}
    for item in filter(None, text.split(",")):
        key, _, value = item.partition("=")
        if key not in keys:
            raise HarnessError(f"{kind}: no key {one_line(key)!r}{nearest(key, keys)}; there are {', '.join(keys)}")
        if key in given:
            raise HarnessError(f"{kind}: {key} is there twice")
        given[key] = keys[key](value)
    return given


def whole(kind: str, name: str, low: int, high: int) -> Callable[[str], int]:
    """Reads a whole number of that range."""

    def read(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not low <= int(value) <= high:
            raise HarnessError(f"{kind}: {name} is a whole number from {low} to {high}, not {one_line(value)!r}")
        return int(value)

    return read


def image_size(kind: str) -> Callable[[str], tuple[int, int]]:
    """Reads height and width in pixels."""

    def read(value: str) -> tuple[int, int]:
        found = re.fullmatch(r"([0-9]{1,5})(?:x([0-9]{1,5}))?", value)
        sides = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not all(32 <= side <= 8192 for side in sides):
            raise HarnessError(f"{kind}: size is SIDE or HEIGHTxWIDTH, each from 32 to 8192, not {one_line(value)!r}")
        return sides

    return read


def names(kind: str, key: str, known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """Reads one or more of the known names, joined by plus signs."""

    def read(value: str) -> tuple[str, ...]:
        typed = tuple(value.split("+"))
        if not set(typed) <= set(known):
            raise HarnessError(f"{kind}: {key} are {'+'.join(known)} or some of them, not {one_line(value)!r}")
        return typed

    return read
