"""Tables on a screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

NO_SCREEN = 2000
"""Characters of a line where the output is not a screen."""


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """A table as wide as the screen; whole lines, unwrapped, where the output is not a screen."""
    from rich.text import Text

    console = console_of_width()
    table = empty_table(title)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def console_of_width() -> Console:
    """A console as wide as the screen, and wide enough for any line where the output is none."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = NO_SCREEN
    return console


def empty_table(title: str | None = None) -> Table:
    """A table without columns, in the style of all of ours."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = None if title is None else Text(title)
    return Table(box=box.SIMPLE_HEAD, title=shown, title_justify="left", pad_edge=False)
