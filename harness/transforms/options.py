"""Checks on the options of augmentations, so that a slip on the command line is told in one line."""

from __future__ import annotations

from harness.errors import HarnessError


def between(option: str, value: float, low: float, high: float) -> float:
    """The value, if it is a number in [low, high]. Raises HarnessError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise HarnessError(f"option {option}={value!r} must be a number from {low:g} to {high:g}")
    return value


def probability(option: str, value: float) -> float:
    """The value, if it lies in [0, 1]. Raises HarnessError."""
    return between(option, value, 0, 1)


def whole(option: str, value: int, low: int) -> int:
    """The value, if it is a whole number and not below low. Raises HarnessError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise HarnessError(f"option {option}={value!r} must be a whole number, {low} or more")
    return value


def one_of(option: str, value: object, choices: tuple[object, ...]) -> None:
    """Raises HarnessError where the value is none of the choices."""
    if not any(value is choice or (value == choice and isinstance(choice, str)) for choice in choices):
        raise HarnessError(f"option {option}={value!r} must be one of: {', '.join(map(str, choices))}")
