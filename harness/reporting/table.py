"""The leaderboard as text: for a screen, Markdown, CSV, LaTeX and JSON."""

from __future__ import annotations

import csv
import io
import json
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Literal

from harness.reporting.escape import for_csv, for_latex, for_markdown
from harness.reporting.leaderboard import Leaderboard, Row, leaderboard_of_runs
from harness.reporting.legend import legend

Format = Literal["screen", "md", "csv", "latex", "json"]
NOT_ON_SCREEN = ("labels", "parameters", "loss", "train s", "s/it IQR", "data wait", "images/s")
FORMATS: tuple[Format, ...] = ("md", "csv", "latex", "json")


@dataclass(frozen=True)
class Column:
    """A column of the printed table. text: what a cell says. best: the number that is best when largest, or None.

    notes: which footnotes its cells are marked with.
    """

    name: str
    text: Callable[[Row], str]
    best: Callable[[Row], float | None] = lambda row: None
    notes: Callable[[Row], Sequence[str]] = lambda row: ()


def columns(board: Leaderboard) -> list[Column]:
    """The columns of the printed table; those that no row fills are left out, but for the score."""
    several = any(row.seeds > 1 for row in board.rows)
    mixed = len({row.energy_of for row in board.rows if row.energy is not None}) > 1
    wanted = [
        Column("rank", lambda row: "" if row.rank is None else str(row.rank)),
        Column("method", lambda row: row.method, notes=lambda row: row.notes),
        Column("changes", lambda row: row.slots),
        Column("labels", lambda row: row.labels),
        Column("IoU", lambda row: number(row.iou, 4), lambda row: -(row.rank or 0)),
        Column("95 % over images", lambda row: interval(row.interval, 3)),
        *([Column("std over seeds", lambda row: number(row.seed_std, 4))] if several else []),
        *([Column("Δ baseline [95 %]", _difference), Column("p", _p)] if board.baseline else []),
        Column("AP", lambda row: number(row.ap, 3), lambda row: row.ap),
        Column("AP50", lambda row: number(row.ap50, 3), lambda row: row.ap50),
        *(_type_column(cell_type) for cell_type in board.types),
        Column("train s", lambda row: number(row.train_seconds, 0), notes=lambda row: row.time_notes),
        Column(
            "s/it",
            lambda row: number(row.seconds_per_iteration, 3),
            _low("seconds_per_iteration"),
            lambda row: row.time_notes,
        ),
        Column("s/it IQR", lambda row: number(row.seconds_per_iteration_iqr, 3)),
        Column("data wait", lambda row: "" if row.data_wait is None else f"{100 * row.data_wait:.0f} %"),
        Column("images/s", lambda row: number(row.images_per_second, 1), _high("images_per_second")),
        Column("ms/image", lambda row: number(row.inference_ms, 0), _low("inference_ms")),
        Column("memory", lambda row: "" if row.memory is None else f"{row.memory / 2**30:.2f} GiB", _low("memory")),
        Column("energy, kJ", lambda row: _energy(row, mixed), lambda row: None if mixed else _low("energy")(row)),
        Column("parameters", lambda row: "" if row.parameters is None else f"{row.parameters:,}"),
        Column("loss", lambda row: number(row.total_loss, 3)),
        Column("status", lambda row: f"{row.status}: {row.reason}" if row.reason else row.status),
    ]
    filled = [c for c in wanted if c.name in ("rank", "method", "IoU") or any(c.text(row) for row in board.rows)]
    all_fine = all(row.status == "ok" for row in board.rows)
    return [column for column in filled if not (all_fine and column.name == "status")]


def as_markdown(board: Leaderboard) -> str:
    """The table with a legend that says what its numbers are."""
    from tabulate import tabulate

    shown = columns(board)
    body = [[marked(board, row, c, for_markdown(c.text(row)), "**{}**", " ({})") for c in shown] for row in board.rows]
    table = tabulate(body, [c.name for c in shown], tablefmt="pipe", disable_numparse=True, colalign=align(shown))
    footnotes = [f"({i}) {for_markdown(text)}" for i, text in enumerate(board.footnotes, 1)]
    problems = [for_markdown(text) for text in board.problems]
    lines = [*footnotes, *problems, *(for_markdown(line) for line in legend(board))]
    return f"# Leaderboard\n\n{table}\n\n" + "".join(f"- {line}\n" for line in lines)


def as_latex(board: Leaderboard) -> str:
    """A booktabs table; the best of each column in bold."""
    from tabulate import tabulate

    shown = columns(board)
    body = [
        [marked(board, row, c, for_latex(c.text(row)), r"\textbf{{{}}}", r"\textsuperscript{{{}}}") for c in shown]
        for row in board.rows
    ]
    names = [for_latex(c.name) for c in shown]
    plain = tabulate(body, names, tablefmt="latex_raw", disable_numparse=True, colalign=align(shown))
    ruled = (
        plain.replace(r"\hline", r"\toprule", 1).replace(r"\hline", r"\midrule", 1).replace(r"\hline", r"\bottomrule")
    )
    notes = [*(f"({i}) {text}" for i, text in enumerate(board.footnotes, 1)), *legend(board)]
    return "% \\usepackage{booktabs}\n" + ruled + "\n" + "".join(f"% {for_latex(note)}\n" for note in notes)


def as_csv(board: Leaderboard) -> str:
    """Every number of every row, unrounded; one line a row."""
    rows = [_plain(board, row) for row in board.rows]
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["method"]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({for_csv(k): for_csv(v) if isinstance(v, str) else v for k, v in row.items()})
    return text.getvalue()


def as_json(board: Leaderboard) -> str:
    """What the CSV holds, with footnotes, problems and legend beside it."""
    plain = {
        "rows": [_plain(board, row) for row in board.rows],
        "footnotes": list(board.footnotes),
        "problems": list(board.problems),
        "legend": legend(board),
    }
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def show(run_dirs: Sequence[Path], form: Format) -> None:
    """Print the leaderboard of runs. Raises HarnessError where a folder is not there."""
    import click

    board = leaderboard_of_runs(run_dirs)
    if form == "screen":
        from harness.reporting.screen import print_table

        shown = [column for column in columns(board) if column.name not in NOT_ON_SCREEN]
        print_table([c.name for c in shown], ([marked(board, r, c, c.text(r), "{}", " ({})") for c in shown]
                                              for r in board.rows))  # fmt: skip
        for i, text in enumerate(board.footnotes, 1):
            click.echo(f"({i}) {text}")
        for problem in board.problems:
            click.echo(problem, err=True)
    else:
        click.echo({"md": as_markdown, "csv": as_csv, "latex": as_latex, "json": as_json}[form](board), nl=False)


# ------------------------------------------------------------------------------------------------------- cells


def number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def interval(value: Any, digits: int, sign: str = "") -> str:
    return "" if value is None else f"{value.low:{sign}.{digits}f} to {value.high:{sign}.{digits}f}"


def _difference(row: Row) -> str:
    d = row.difference
    return "" if d is None else f"{d.mean:+.4f} [{interval(d.interval, 3, '+')}]"


def _p(row: Row) -> str:
    if row.difference is None or not row.difference.seeds_known:
        return ""
    return "< 0.001" if row.difference.p < 0.001 else f"{row.difference.p:.3f}"


def _energy(row: Row, mixed: bool) -> str:
    """With what used it, where that is not the same in all rows."""
    return "" if row.energy is None else number(row.energy / 1000, 2) + (f" ({row.energy_of})" if mixed else "")


def _type_column(cell_type: str) -> Column:
    def value(row: Row) -> float | None:
        return row.by_type.get(cell_type)

    return Column(f"IoU {cell_type}", lambda row: number(value(row), 3), value)


def _low(name: str) -> Callable[[Row], float | None]:
    return lambda row: -value if row.same_machine and (value := getattr(row, name)) is not None else None


def _high(name: str) -> Callable[[Row], float | None]:
    return lambda row: getattr(row, name) if row.same_machine else None


def marked(board: Leaderboard, row: Row, column: Column, text: str, bold: str, mark: str) -> str:
    """A cell with its footnotes, and in bold where it is the best of the ranked rows."""
    ranked = [value for r in board.rows if r.rank is not None and (value := column.best(r)) is not None]
    best = row.rank is not None and len(ranked) > 1 and column.best(row) == max(ranked)
    marks = board.marks(column.notes(row)) if text else []
    # added one by one, so that text which knows that it is escaped stays so
    return reduce(operator.add, (mark.format(i) for i in marks), bold.format(text) if best else text)


def align(shown: Sequence[Column]) -> list[str]:
    return ["left" if c.name in ("method", "changes", "labels", "status") else "right" for c in shown]


def _plain(board: Leaderboard, row: Row) -> dict[str, Any]:
    """A row as plain values: every field, intervals and types in columns of their own."""
    d = row.difference
    skipped = ("records", "interval", "difference", "by_type", "notes", "time_notes")
    fields = {name: value for name, value in vars(row).items() if name not in skipped}
    return {
        **fields,
        "interval_low": row.interval and row.interval.low,
        "interval_high": row.interval and row.interval.high,
        "difference": d and d.mean,
        "difference_low": d and d.interval.low,
        "difference_high": d and d.interval.high,
        "p_corrected": d.p if d and d.seeds_known else None,
        "different": d and d.different,
        **{f"iou_{cell_type}": row.by_type.get(cell_type) for cell_type in board.types},
        "notes": "; ".join((*row.notes, *row.time_notes)),
    }
