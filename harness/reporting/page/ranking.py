"""The leaderboard as rows and cells that the page's template writes out and its script sorts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.reporting.columns import Column, align, columns, marked
from harness.reporting.leaderboard import Leaderboard
from harness.reporting.row import Row

if TYPE_CHECKING:
    from markupsafe import Markup

ON_DEMAND = re.compile(
    r"changes|labels|p|95 % over images|std over seeds|AP|AP50|IoU .+|train s|s/it IQR|data wait|images/s|parameters|"
    r"tuning s|loss|arithmetic"
)
"""Columns that are shown when asked for: with them the table is wider than most screens."""

_NUMBER = re.compile(r"[+-]?\d[\d,]*(\.\d+)?")


@dataclass(frozen=True)
class Head:
    """A column. number: sorted by the number its cells begin with. on_demand: hidden at first."""

    name: str
    number: bool
    on_demand: bool


@dataclass(frozen=True)
class TableCell:
    """text: as it is shown. sort: what the script sorts by; empty cells come last either way."""

    head: Head
    text: Markup
    sort: str


@dataclass(frozen=True)
class Ranking:
    """The table. lines: the row itself, for its status, and its cells."""

    heads: Sequence[Head]
    lines: Sequence[tuple[Row, Sequence[TableCell]]]

    @property
    def on_demand(self) -> list[str]:
        return [head.name for head in self.heads if head.on_demand]


def ranking(board: Leaderboard) -> Ranking:
    """The columns and rows of the printed table, in its order."""
    shown = columns(board)
    heads = [
        Head(column.name, side == "right", bool(ON_DEMAND.fullmatch(column.name)))
        for column, side in zip(shown, align(shown), strict=True)
    ]
    return Ranking(
        heads,
        [(row, [_cell(board, row, c, head) for c, head in zip(shown, heads, strict=True)]) for row in board.rows],
    )


def _cell(board: Leaderboard, row: Row, column: Column, head: Head) -> TableCell:
    from markupsafe import Markup, escape

    # the reason of a failure has a section of its own
    plain = row.provenance.status if column.name == "status" else column.text(row)
    number = _NUMBER.search(plain) if head.number else None
    sort = number[0].replace(",", "") if number else "" if head.number else plain.lower()
    text = marked(board, row, column, escape(plain), Markup("<strong>{}</strong>"), Markup("<sup>({})</sup>"))
    return TableCell(head, Markup(text), sort)
