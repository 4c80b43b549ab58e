"""A chart as plain facts, drawn for the page (interactive.py, plotly) and for papers (printed.py, matplotlib)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["points", "lines", "panels", "intervals", "bars", "stack"]
"""points: one per method, with an interval. lines: one per method. panels: a small chart per method, with its line and
the first method's. intervals: a row per method, a point and its
interval along x. bars: upright, grouped by a name on x. stack: a row per method, parts end to end along x."""

INK = "ink"
"""In place of a colour: that of text, dark on light and light on dark."""


@dataclass(frozen=True)
class Style:
    """How one method looks in every figure: told apart by colour, and by marker, dash or pattern without it.

    marker: plotly's name. glyph: the same shape as a character. dash and pattern: plotly's names.
    """

    colour: str
    marker: str
    glyph: str
    dash: str
    pattern: str


COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's, without black, which is for the baseline, and yellow, which is hard to see on white."""

MARKERS = (
    ("square", "■"),
    ("diamond", "◆"),
    ("triangle-up", "▲"),
    ("triangle-down", "▼"),
    ("cross", "✚"),
    ("x", "✖"),
    ("star", "★"),
)
DASHES = ("solid", "dash", "dot", "dashdot")
PATTERNS = ("", "/", "\\", "x", "-", "|", ".")


def style(index: int) -> Style:
    """Of method number `index`; 0 is the baseline. The first 43 differ."""
    if index == 0:
        return Style(INK, "circle", "●", "solid", "")
    i = index - 1
    marker, glyph = MARKERS[i % len(MARKERS)]
    return Style(COLOURS[i % len(COLOURS)], marker, glyph, DASHES[i % len(DASHES)], PATTERNS[i % len(PATTERNS)])


@dataclass(frozen=True)
class Axis:
    """title: with its unit. log: logarithmic. zero: starts at zero, or shows it where values lie on both sides."""

    title: str
    log: bool = False
    zero: bool = False


@dataclass(frozen=True)
class Series:
    """What one method has in one chart. low, high: ends of intervals, along y in "points", along x in "intervals".

    x of "bars" are names. part: in "stack", which part of the row this is; x is then one number.
    """

    method: str
    x: Sequence[float] | Sequence[str]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    part: str = ""


@dataclass(frozen=True)
class Part:
    """A part of a "stack": its name and how it looks."""

    name: str
    title: str
    style: Style


@dataclass(frozen=True)
class Chart:
    """One figure. slug: its file name. caption: what to see and how it was computed. front: those on the Pareto front.

    header, body: the numbers as a table, for readers who cannot see the figure. wide: as wide as the page.
    """

    slug: str
    title: str
    caption: str
    kind: Kind
    x: Axis
    y: Axis
    series: Sequence[Series]
    header: Sequence[str]
    body: Sequence[Sequence[str]]
    front: Sequence[str] = ()
    parts: Sequence[Part] = ()
    wide: bool = False

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(series.method for series in self.series))

    def front_points(self) -> list[tuple[float, float]]:
        """The points of the front, from left to right."""
        found = [(float(s.x[0]), float(s.y[0])) for s in self.series if s.method in self.front]
        return sorted(found)
