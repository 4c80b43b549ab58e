"""The leaderboard as text: for a screen, Markdown, CSV, LaTeX and JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from harness.reporting.columns import LIVECELL, align, columns, marked
from harness.reporting.escape import for_csv, for_latex, for_markdown
from harness.reporting.leaderboard import Leaderboard
from harness.reporting.legend import legend
from harness.reporting.row import Row
from harness.reporting.verdict import verdict

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["screen", "md", "csv", "latex", "json"]
FORMATS: tuple[Format, ...] = ("md", "csv", "latex", "json")


def show(board: Leaderboard, form: Format, wide: bool = False) -> None:
    """Print a leaderboard.

    Args:
        board: what is printed.
        form: how it is written.
        wide: on a screen, all columns, in several tables where one would not fit.
    """
    import click

    if form == "screen":
        from harness.reporting.terminal import print_leaderboard

        print_leaderboard(board, wide)
    else:
        click.echo({"md": as_markdown, "csv": as_csv, "latex": as_latex, "json": as_json}[form](board), nl=False)


def as_markdown(board: Leaderboard) -> str:
    """The verdict, the table, and a legend that says what its numbers are."""
    from tabulate import tabulate

    shown = columns(board)
    body = [[marked(board, row, c, for_markdown(c.text(row)), "**{}**", " ({})") for c in shown] for row in board.rows]
    table = tabulate(body, [c.name for c in shown], tablefmt="pipe", disable_numparse=True, colalign=align(shown))
    footnotes = [f"({i}) {for_markdown(text)}" for i, text in enumerate(board.footnotes, 1)]
    problems = [for_markdown(text) for text in board.problems]
    lines = [*footnotes, *problems, *(for_markdown(line) for line in legend(board))]
    said = "\n".join(for_markdown(line) for line in verdict(board))
    return f"# Leaderboard\n\n{said}\n\n{table}\n\n" + "".join(f"- {line}\n" for line in lines)


def as_latex(board: Leaderboard) -> str:
    """A booktabs table."""
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
    notes = [*verdict(board), *(f"({i}) {text}" for i, text in enumerate(board.footnotes, 1)), *legend(board)]
    return "% \\usepackage{booktabs}\n" + ruled + "\n" + "".join(f"% {for_latex(note)}\n" for note in notes)


def as_csv(board: Leaderboard) -> str:
    """Every number of every row, unrounded; one line a row."""
    table = as_frame(board).map(lambda value: for_csv(value) if isinstance(value, str) else value)
    return str(table.rename(columns=for_csv).to_csv(index=False, lineterminator="\n"))


def as_json(board: Leaderboard) -> str:
    """What the CSV holds, with verdict, footnotes, problems and legend beside it."""
    plain = {
        "rows": as_frame(board).to_dict("records"),
        "verdict": verdict(board),
        "footnotes": list(board.footnotes),
        "problems": list(board.problems),
        "legend": legend(board),
    }
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def _has_livecell(board: Leaderboard) -> bool:
    return any(row.quality.livecell for row in board.rows)


def as_frame(board: Leaderboard) -> pd.DataFrame:
    """A row a method, every number unrounded; intervals and cell types in columns of their own."""
    import pandas as pd

    rows = [_plain(board, row) for row in board.rows]
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["method"], dtype=object)


def _plain(board: Leaderboard, row: Row) -> dict[str, Any]:
    quality, cost, origin = row.quality, row.cost, row.provenance
    vs, best, beats = quality.vs_baseline, quality.vs_best, quality.beats_baseline
    return {
        "method": row.method,
        "position": row.position,
        "slots": origin.slots,
        "labels": origin.labels,
        "iou": quality.iou,
        "interval_low": quality.interval and quality.interval.low,
        "interval_high": quality.interval and quality.interval.high,
        "seed_std": quality.seed_std,
        "fold_std": quality.fold_std,
        "beats_baseline": beats and beats.probability,
        "beats_baseline_low": beats and beats.interval.low,
        "beats_baseline_high": beats and beats.interval.high,
        "difference": vs and vs.mean,
        "difference_low": vs and vs.interval.low,
        "difference_high": vs and vs.interval.high,
        "p_corrected": vs and vs.p,
        "told_apart_from_baseline": vs and vs.told_apart,
        "told_apart_from_best": best and best.told_apart,
        "compared_as": vs and vs.scope,
        "different": vs and vs.different,
        "worth_it": row.worth_it,
        **{name: getattr(quality, name) for name in ("f1_50", "count_error", "ap", "ap50")},
        **{f"livecell_{name}": quality.livecell.get(name) for name in LIVECELL if _has_livecell(board)},
        **{f"iou_{cell_type}": quality.by_type.get(cell_type) for cell_type in board.types},
        "arithmetic": origin.arithmetic,
        **{name: value for name, value in vars(cost).items() if name != "notes"},
        "total_loss": quality.total_loss,
        "seeds": origin.seeds,
        "status": origin.status,
        "reason": origin.reason,
        "notes": "; ".join((*origin.notes, *cost.notes)),
    }
