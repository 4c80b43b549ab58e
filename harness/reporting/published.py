"""The rows of a preset, such as the paper's table, measured beside published."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import click

from harness.config.preset import Preset, load
from harness.errors import HarnessError
from harness.reporting.escape import for_csv, for_latex, for_markdown
from harness.reporting.leaderboard import Leaderboard, Row, leaderboard_of_runs
from harness.reporting.table import number

MEASURED: dict[str, Callable[[Row], str]] = {
    "IoU": lambda row: number(row.iou, 4),
    "iterations": lambda row: ", ".join(sorted({str(r.cost.iterations) for r in row.records if r.status == "ok"})),
    "total loss": lambda row: number(row.total_loss, 3),
    "train time": lambda row: "" if row.train_seconds is None else str(timedelta(seconds=round(row.train_seconds))),
    "memory": lambda row: "" if row.memory is None else f"{row.memory / 2**30:.1f} GiB",
    "AP": lambda row: number(row.ap, 4),
    "AP50": lambda row: number(row.ap50, 4),
}
"""What a preset's rows may publish that we measure too; anything else of theirs is printed as it stands."""


def print_beside_published(run_dirs: Sequence[Path], preset_name: str, form: str) -> None:
    """Print the table. Raises HarnessError where the preset has no rows."""
    preset = load(preset_name)
    header, body = beside_published(leaderboard_of_runs(run_dirs), preset)
    if form == "json":
        click.echo(json.dumps([dict(zip(header, row, strict=True)) for row in body], indent=2, ensure_ascii=False))
    elif form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([[for_csv(cell) for cell in row] for row in (header, *body)])
        click.echo(text.getvalue(), nl=False)
    elif form == "screen":
        from harness.reporting.screen import print_table

        print_table(header, body)
    else:
        from tabulate import tabulate

        escape = for_latex if form == "latex" else for_markdown
        style = "latex_raw" if form == "latex" else "pipe"
        plain = [[escape(cell) for cell in row] for row in body]
        click.echo(tabulate(plain, [escape(name) for name in header], tablefmt=style, disable_numparse=True))


def beside_published(board: Leaderboard, preset: Preset) -> tuple[list[str], list[list[str]]]:
    """Header and cells: for each row of the preset, each published quantity with ours beside it where we have it.

    Only records made with this preset count; a row without a record says so in its status.
    """
    if not preset.rows:
        raise HarnessError(f"preset {preset.name} has no rows to be set beside; presets with rows: paper")
    ours = {row.method: row for row in board.rows for record in row.records[:1] if record.preset == preset.name}
    names = list(dict.fromkeys(name for row in preset.rows for name in row.published))
    header = ["row"]
    for name in names:
        header += [f"{name}, published", f"{name}, measured"] if name in MEASURED else [name]
    body = []
    for wanted in preset.rows:
        row = ours.get(wanted.name)
        cells = [wanted.name]
        for name in names:
            cells.append(wanted.published.get(name, ""))
            if name in MEASURED:
                cells.append("" if row is None else MEASURED[name](row))
        cells.append("no record" if row is None else f"{row.status}: {row.reason}" if row.reason else row.status)
        body.append(cells)
    return [*header, "status"], body
