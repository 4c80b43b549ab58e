"""The rows of a preset, such as the paper's table, measured beside published."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import click

from harness.config.preset import Preset, load_preset
from harness.errors import HarnessError
from harness.reporting.columns import number, status_text
from harness.reporting.escape import for_csv, for_latex, for_markdown
from harness.reporting.leaderboard import Leaderboard, leaderboard_of_runs
from harness.reporting.row import Row

MEASURED: dict[str, Callable[[Row], str]] = {
    "IoU": lambda row: number(row.quality.iou, 4),
    "iterations": lambda row: ", ".join(sorted({str(r.cost.iterations) for r in row.good_records})),
    "total loss": lambda row: number(row.quality.total_loss, 3),
    "train time": lambda row: (
        "" if row.cost.train_seconds is None else str(timedelta(seconds=round(row.cost.train_seconds)))
    ),
    "memory": lambda row: "" if row.cost.memory is None else f"{row.cost.memory / 2**30:.1f} GiB",
    "AP": lambda row: number(row.quality.ap, 4),
    "AP50": lambda row: number(row.quality.ap50, 4),
}
"""Published quantities that are also measured here. Other published values are printed unchanged."""


def print_published_comparison(run_dirs: Sequence[Path], preset_name: str, form: str) -> None:
    """Print the table. Raises HarnessError where the preset has no rows."""
    preset = load_preset(preset_name)
    header, body = compare_with_published(leaderboard_of_runs(run_dirs), preset)
    if form == "screen":
        from harness.reporting.screen import print_table

        print_table(header, body)
        return
    import pandas as pd

    table = pd.DataFrame(body, columns=header)
    if form == "json":
        click.echo(json.dumps(table.to_dict("records"), indent=2, ensure_ascii=False))
    elif form == "csv":
        click.echo(table.map(for_csv).rename(columns=for_csv).to_csv(index=False, lineterminator="\n"), nl=False)
    else:
        escape, style = (for_latex, "latex_raw") if form == "latex" else (for_markdown, "pipe")
        escaped = table.map(escape).rename(columns=escape)
        click.echo(escaped.to_markdown(index=False, tablefmt=style, disable_numparse=True))


def compare_with_published(board: Leaderboard, preset: Preset) -> tuple[list[str], list[list[str]]]:
    """Header and cells: for each row of the preset, each published quantity with ours beside it where we have it.

    Only records made with this preset count; a row without a record says so in its status.
    """
    if not preset.rows:
        raise HarnessError(f"preset {preset.name} has no rows to be set beside; presets with rows: paper")
    ours = {
        row.method: row for row in board.rows for record in row.provenance.records[:1] if record.preset == preset.name
    }
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
        cells.append("no record" if row is None else status_text(row))
        body.append(cells)
    return [*header, "status"], body
