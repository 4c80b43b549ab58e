"""The leaderboard on a terminal: as many columns as there is room for, and the verdict below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click
from rich.cells import cell_len
from rich.text import Text

from harness.reporting.columns import Column, align, columns, marked
from harness.reporting.leaderboard import Leaderboard
from harness.reporting.screen import console_of_width, empty_table
from harness.reporting.verdict import verdict

if TYPE_CHECKING:
    from rich.console import Console

FIRST = ("#", "method", "IoU")
"""Columns that are there at any width."""

GAP = 3
"""Characters that a column takes beside its text."""

FOLDED_NAME = 20
"""On a narrow screen, names of methods longer than this continue on a second line."""


def print_leaderboard(board: Leaderboard, wide: bool = False) -> None:
    """The table, with as many columns as the screen has room for, then the verdict and what is noted.

    No method's name and no IoU is cut. Columns that do not fit are named; with `wide` they follow in further tables.
    Where the output is not a screen, every column is in one table.
    """
    console = console_of_width()
    shown = [_shortened(column) for column in columns(board)]
    groups = screens(board, shown, console.width)
    for group in groups if wide else groups[:1]:
        _print_columns(console, board, group)
    left = [column.name for group in groups[1:] for column in group if column.name not in FIRST]
    for line in _below(board, left if not wide else []):
        # words are kept whole; nothing is cut
        console.print(Text(line), soft_wrap=not console.is_terminal)
    for problem in board.problems:
        click.echo(problem, err=True)


def _below(board: Leaderboard, left: Sequence[str]) -> list[str]:
    """The lines below the table. left: names of the columns that are not shown."""
    arithmetic = dict.fromkeys(row.provenance.arithmetic for row in board.ranked if row.provenance.arithmetic)
    budgets = ", ".join(dict.fromkeys(record.budget for record in board.records if record.budget))
    failed = [row for row in board.rows if row.provenance.reason]
    return [
        f"Budget {budgets}; arithmetic {', '.join(arithmetic)}." if arithmetic else f"Budget {budgets}.",
        *([f"More with --wide: {', '.join(left)}."] if left else []),
        *(f"({i}) {text}" for i, text in enumerate(board.footnotes, 1)),
        *(f"{row.method}: {row.provenance.status}: {row.provenance.reason}" for row in failed),
        "",
        *verdict(board),
    ]


def screens(board: Leaderboard, shown: Sequence[Column], width: int) -> list[list[Column]]:
    """The columns in groups that each fit on a screen of that width, the most important group first.

    Every group begins with the columns that tell a row, and keeps the order of the table.
    """
    first = [column for column in shown if column.name in FIRST]
    rest = sorted((column for column in shown if column.name not in FIRST), key=lambda column: column.priority)
    widths = {column.name: _width(board, column) for column in shown}
    base = sum(widths[column.name] + GAP for column in first)
    if base > width // 2:
        base += min(0, FOLDED_NAME - widths["method"])
    groups: list[list[Column]] = []
    while rest:
        room = width - base
        group: list[Column] = []
        for column in rest:
            if widths[column.name] + GAP <= room or not group:
                group.append(column)
                room -= widths[column.name] + GAP
        rest = [column for column in rest if column not in group]
        groups.append([column for column in shown if column in (*first, *group)])
    return groups or [first]


def _print_columns(console: Console, board: Leaderboard, shown: Sequence[Column]) -> None:
    table = empty_table()
    for column, side in zip(shown, align(shown), strict=True):
        whole = column.name != "method"
        table.add_column(column.name, justify=side, no_wrap=whole, overflow="fold")
    for row in board.rows:
        table.add_row(*(_cell(marked(board, row, c, c.text(row), "\0{}", " ({})")) for c in shown))
    console.print(table)


def _cell(text: str) -> Text:
    """Bold where it begins with a zero character, which no text of a table has."""
    return Text(text.replace("\0", ""), style="bold" if text.startswith("\0") else "")


def _shortened(column: Column) -> Column:
    """Reasons of failures stand below the table."""
    return replace(column, text=lambda row: row.provenance.status) if column.name == "status" else column


def _width(board: Leaderboard, column: Column) -> int:
    cells = (marked(board, row, column, column.text(row), "{}", " ({})") for row in board.rows)
    return max(cell_len(text) for text in (column.name, *cells))
