"""The page of timings has each row with its target, names failures, and names no host or folder."""

from __future__ import annotations

from typing import Any

import pytest
from speed import page
from speed_rows import met, number, row

MACHINE = {
    "cpu": "A CPU",
    "cores_usable": 2,
    "memory": 8 * 2**30,
    "gpus": [],
    "system": "Linux",
    "python": "CPython 3.11",
    "versions": {"torch": "2.0", "click": "8.0"},
    "commit": "abc",
}


def figures(*rows: dict[str, Any], **machine: Any) -> dict[str, Any]:
    benchmarks = [{"extra_info": {"rows": [one]}} for one in rows]
    return {"machine_info": {**MACHINE, **machine}, "datetime": "2020-01-02T03:04:05", "benchmarks": benchmarks}


def test_less_is_better_unless_said() -> None:
    assert row("step", 2.0, "s", peer=5.0)["ratio"] == 2.5
    assert row("reader", 20.0, "samples/s", peer=5.0, more_is_better=True)["ratio"] == 4.0


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (row("a", 1.0, "s", 8.0, peer=8.0), True),
        (row("a", 1.0, "s", 8.0, peer=7.9), False),
        (row("a", 3.0, "%", 3.0), True),
        (row("a", 3.1, "%", 3.0), False),
        (row("a", 3.1, "%"), None),
    ],
)
def test_targets(one: dict[str, Any], expected: bool | None) -> None:
    assert met(one) is expected


def test_every_row_is_printed_with_its_target() -> None:
    good = row("decode | crop", 0.002, "s", 8.0, peer=0.02, note="warm")
    text = page("python benchmarks/speed.py", {"reader": figures(good, row("start", 2.5, "s", 2.0))})
    assert "| decode \\| crop (1) | 0.00200 | 0.0200 | s | 10.0× | ≥ 8.00× | yes |" in text
    assert "| start | 2.50 |  | s |  | ≤ 2.00 | **no** |" in text
    assert "(1) warm" in text
    assert "`python benchmarks/speed.py`" in text
    assert "A CPU, 2 cores, 8 GiB, no GPU" in text
    assert "2020-01-02" in text
    assert "torch 2.0" in text
    assert "click" not in text


def test_a_benchmark_without_figures_has_its_row() -> None:
    text = page("x", {"reader": None, "scoring": figures(row("scoring", 1.0, "s"))})
    assert "| reader: no figures" in text
    assert "| scoring | 1.00 |" in text


def test_figures_made_on_two_machines_say_which() -> None:
    found = {"a": figures(row("a", 1.0, "s")), "b": figures(row("b", 1.0, "s"), gpus=[{"name": "A GPU"}])}
    text = page("x", found)
    assert "a: Machine: A CPU, 2 cores, 8 GiB, no GPU" in text
    assert "b: Machine: A CPU, 2 cores, 8 GiB, A GPU" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234.5, "1,234"), (100, "100"), (2, "2.00"), (0.0123, "0.0123"), (1.5e-5, "1.50e-05")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text
