"""The columns of the leaderboard: the text of each entry, which is best, and which columns a narrow screen omits."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

from harness.reporting.leaderboard import Leaderboard
from harness.reporting.pareto import SAME_COST
from harness.reporting.row import Row
from harness.results.statistics import Difference, Interval

SAME = "≈"
"""Text in the table where two methods do not differ significantly."""

LIVECELL = {
    "ap": "LIVECell AP",
    "ap50": "LIVECell AP50",
    "ap75": "LIVECell AP75",
    "ap_small": "LIVECell APs",
    "ap_medium": "LIVECell APm",
    "ap_large": "LIVECell APl",
    "afnr": "LIVECell AFNR",
}
"""Scores of LIVECell's protocol (harness.evaluation.livecell), and the names of their columns."""

LEFT = ("method", "changes", "labels", "vs baseline", "vs best", "arithmetic", "status")


@dataclass(frozen=True)
class Column:
    """A column of the printed table.

    Attributes:
        text: what its cell says in a row.
        priority: columns of small numbers stay where there is no room for all.
        best: whether a row's cell is the best of the ranked rows and told apart from the others, and so in bold.
        notes: which footnotes its cells are marked with.
    """

    name: str
    text: Callable[[Row], str]
    priority: int
    best: Callable[[Row], bool] = lambda row: False
    notes: Callable[[Row], Sequence[str]] = lambda row: ()


def columns(board: Leaderboard) -> list[Column]:
    """The columns of the printed table; those that no row fills are left out, but for the score."""
    wanted = [*_quality_columns(board), *_cost_columns(board), Column("status", status_text, 4)]
    kept = ("#", "method", "IoU")
    filled = [c for c in wanted if c.name in kept or any(c.text(row) for row in board.rows)]
    all_fine = all(row.provenance.status == "ok" for row in board.rows)
    return [column for column in filled if not (all_fine and column.name == "status")]


def _quality_columns(board: Leaderboard) -> list[Column]:
    several = any(row.provenance.seeds > 1 for row in board.rows)
    in_folds = any(row.in_folds for row in board.rows)
    repeated = several or in_folds
    compared = len(board.ranked) > 1
    clear = _clear_winner(board)
    return [
        Column("#", lambda row: "" if row.position is None else str(row.position), 0),
        Column("method", lambda row: row.method, 0, notes=lambda row: row.provenance.notes),
        Column("IoU", lambda row: number(row.quality.iou, 4), 0, lambda row: row is clear),
        *([Column("vs baseline", lambda row: _versus_baseline(board, row), 1)] if board.baseline and compared else []),
        *([Column("vs best", _versus_best, 6)] if compared else []),
        Column("worth it", lambda row: "yes" if row.worth_it else "", 3),
        Column("95 % over images", lambda row: interval(row.quality.interval, 3), 9),
        *([Column("std over seeds", lambda row: number(row.quality.seed_std, 4), 9)] if several else []),
        *([Column("std over folds", lambda row: number(row.quality.fold_std, 4), 9)] if in_folds else []),
        *([Column("P(beats baseline)", _beats_baseline, 14)] if board.baseline and compared and repeated else []),
        *([Column("Δ baseline [95 %]", _difference, 8), Column("p", _p, 14)] if board.baseline and compared else []),
        Column("F1", lambda row: number(row.quality.f1_50, 3), 10),
        Column("count error", lambda row: percent(row.quality.count_error), 11),
        Column("AP", lambda row: number(row.quality.ap, 3), 15),
        Column("AP50", lambda row: number(row.quality.ap50, 3), 16),
        *(_livecell_column(name, text) for name, text in LIVECELL.items()),
        *(_type_column(cell_type) for cell_type in board.types),
        Column("changes", lambda row: row.provenance.slots, 13),
        Column("labels", lambda row: row.provenance.labels, 23),
    ]


def _cost_columns(board: Leaderboard) -> list[Column]:
    mixed = len({row.cost.energy_of for row in board.rows if row.cost.energy is not None}) > 1
    one_arithmetic = len({row.provenance.arithmetic for row in board.ranked if not row.is_outside}) < 2
    return [
        Column("steps", lambda row: number(row.cost.steps, 0), 2),
        Column("arithmetic", lambda row: row.provenance.arithmetic, 12 if one_arithmetic else 5),
        Column("train s", lambda row: number(row.cost.train_seconds, 0), 18, notes=lambda row: row.cost.notes),
        *([Column("with pretraining s", _with_pretraining, 18)] if _any_pretraining(board) else []),
        Column(
            "s/it",
            lambda row: number(row.cost.seconds_per_iteration, 3),
            5,
            _lowest(board, "seconds_per_iteration"),
            lambda row: row.cost.notes,
        ),
        Column("tuning s", lambda row: number(row.cost.tuning_seconds, 0), 17),
        Column("labelling h", lambda row: number(row.cost.labelling_hours, 1), 22),
        Column("s/it IQR", lambda row: number(row.cost.seconds_per_iteration_iqr, 3), 20),
        Column("data wait", lambda row: percent(row.cost.data_wait), 19),
        Column("images/s", lambda row: number(row.cost.images_per_second, 1), 21),
        Column("ms/image", lambda row: number(row.cost.inference_ms, 0), 7, _lowest(board, "inference_ms")),
        Column("memory", _memory, 6, _lowest(board, "memory")),
        Column(
            "energy, kJ",
            lambda row: _energy(row, mixed),
            17,
            (lambda row: False) if mixed else _lowest(board, "energy"),
        ),
        Column("parameters", lambda row: "" if row.cost.parameters is None else f"{row.cost.parameters:,}", 22),
        Column("loss", lambda row: number(row.quality.total_loss, 3), 24),
    ]


def marked(board: Leaderboard, row: Row, column: Column, text: str, bold: str, mark: str) -> str:
    """A cell with its footnotes, in bold where it is the best of the ranked rows and told apart from the others."""
    best = row.ranked and column.best(row)
    marks = board.marks(column.notes(row)) if text else []
    # added one by one, so that text which knows that it is escaped stays so
    return reduce(operator.add, (mark.format(i) for i in marks), bold.format(text) if best else text)


def align(shown: Sequence[Column]) -> list[Literal["left", "right"]]:
    """The side that each column stands on."""
    return ["left" if c.name in LEFT else "right" for c in shown]


# ------------------------------------------------------------------------------------------------------- cells


def number(value: float | None, digits: int) -> str:
    """With that many decimals; empty where nothing is known."""
    return "" if value is None else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """A share as a percentage; empty where nothing is known."""
    return "" if value is None else f"{100 * value:.0f} %"


def interval(value: Interval | None, digits: int, sign: str = "") -> str:
    """Both ends with that many decimals. sign: "+" writes the sign of positive numbers too."""
    return "" if value is None else f"{value.low:{sign}.{digits}f} to {value.high:{sign}.{digits}f}"


def versus(difference: Difference | None) -> str:
    """ "better", "worse" or ≈; with "network" before it where one seed says nothing of the method."""
    if difference is None or not difference.told_apart:
        return "" if difference is None else SAME
    word = "better" if difference.mean > 0 else "worse"
    return word if difference.scope == "methods" else f"network {word}"


def _versus_baseline(board: Leaderboard, row: Row) -> str:
    return "baseline" if row.ranked and row.method == board.baseline else versus(row.quality.vs_baseline)


def _versus_best(row: Row) -> str:
    if row.position == 1 or row.quality.vs_best is None:
        return "highest" if row.position == 1 else ""
    # what is worse than the baseline is not the best
    told = row.quality.vs_best.told_apart or not row.is_worse
    return versus(row.quality.vs_best if told else row.quality.vs_baseline)


def _clear_winner(board: Leaderboard) -> Row | None:
    """The row with the highest IoU, where it is told apart, as a method, from every other."""
    others = [row.quality.vs_best for row in board.ranked[1:]]
    return board.ranked[0] if others and all(d is not None and d.different for d in others) else None


def _difference(row: Row) -> str:
    d = row.quality.vs_baseline
    return "" if d is None else f"{d.mean:+.3f} [{interval(d.interval, 3, '+')}]"


def _p(row: Row) -> str:
    d = row.quality.vs_baseline
    return "" if d is None else "< 0.001" if d.p < 0.001 else f"{d.p:.3f}"


def _beats_baseline(row: Row) -> str:
    found = row.quality.beats_baseline
    return "" if found is None else f"{found.probability:.2f} [{interval(found.interval, 2)}]"


def _any_pretraining(board: Leaderboard) -> bool:
    """Whether any row starts from weights whose training time is known."""
    times = ((row.cost.train_seconds, row.cost.seconds_with_pretraining) for row in board.rows)
    return any(whole is not None and whole != own for own, whole in times)


def _with_pretraining(row: Row) -> str:
    return number(row.cost.seconds_with_pretraining, 0)


def _memory(row: Row) -> str:
    return "" if row.cost.memory is None else f"{row.cost.memory / 2**30:.2f} GiB"


def _energy(row: Row, mixed: bool) -> str:
    """With what used it, where that is not the same in all rows."""
    return number(row.cost.energy and row.cost.energy / 1000, 2) + (
        f" ({row.cost.energy_of})" if mixed and row.cost.energy is not None else ""
    )


def status_text(row: Row) -> str:
    """How its trials ended, with the first reason."""
    return f"{row.provenance.status}: {row.provenance.reason}" if row.provenance.reason else row.provenance.status


def _type_column(cell_type: str) -> Column:
    return Column(f"IoU {cell_type}", lambda row: number(row.quality.by_type.get(cell_type), 3), 25)


def _livecell_column(name: str, text: str) -> Column:
    priority = 10 if name in ("ap", "afnr") else 16
    return Column(text, lambda row: number(row.quality.livecell.get(name), 3), priority)


def _lowest(board: Leaderboard, cost: str) -> Callable[[Row], bool]:
    """What marks the row whose cost is the lowest, by more than SAME_COST below the next."""
    known = sorted(
        value for row in board.ranked if row.cost.same_machine and (value := getattr(row.cost, cost)) is not None
    )
    if len(known) < 2 or known[0] * (1 + SAME_COST) >= known[1]:
        return lambda row: False
    return lambda row: row.cost.same_machine and getattr(row.cost, cost) == known[0]
