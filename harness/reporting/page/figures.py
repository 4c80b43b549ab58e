"""Which figures a report has, made from the leaderboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.reporting.leaderboard import Leaderboard
from harness.reporting.page.charts import Chart, Style, style
from harness.reporting.page.cost_figures import cost_charts
from harness.reporting.page.label_figures import label_charts
from harness.reporting.page.learning import iou_charts, iou_curves, loss_charts, time_to_iou
from harness.reporting.page.quality_figures import (
    differences,
    error_counts,
    intervals,
    precision_by_threshold,
    scores_by_type,
)
from harness.reporting.page.tuning_figures import tuning_charts
from harness.reporting.row import Row

Group = tuple[str, list[Chart]]
"""A heading and its charts."""


@dataclass(frozen=True)
class Figures:
    """groups: charts under headings. styles: method to its look. notes: what could not be drawn, and why."""

    groups: Sequence[Group]
    styles: Mapping[str, Style]
    notes: Sequence[str]

    @property
    def charts(self) -> list[Chart]:
        return [chart for _, charts in self.groups for chart in charts]


def figures(board: Leaderboard, run_dir: Path) -> Figures:
    """All charts that the ranked rows of a leaderboard have numbers for."""
    rows = board.ranked
    left_out = [row.method for row in board.rows if not row.ranked and row.quality.iou is not None]
    other = f"Not in the figures, since made under other conditions: {', '.join(left_out)}."
    losses, problems = loss_charts(rows, run_dir)
    curves = iou_curves(rows)
    groups: list[Group] = [
        ("How good, and how sure", [*intervals(rows), *differences(rows), *label_charts(rows)]),
        ("What it costs", [*time_to_iou(rows, curves), *cost_charts(rows)]),
        ("How it learns", [*iou_charts(rows, curves), *losses, *tuning_charts(rows)]),
        ("Where it is good", [*scores_by_type(rows, board.types), *precision_by_threshold(rows)]),
        ("What goes wrong", error_counts(rows)),
    ]
    drawn = [(heading, charts) for heading, charts in groups if charts]
    return Figures(drawn, styles(rows), [*([other] if left_out else []), *problems])


def styles(rows: Sequence[Row]) -> dict[str, Style]:
    """Styles by row and by method. Style 0 is reserved for the baseline; the others follow in the order of the table.

    A row has the name of its method, but where rows of one method differ.
    """
    first = {row.method: style(0) for row in rows if row.is_baseline}
    names = [row.method for row in rows] + [row.provenance.records[0].method for row in rows]
    others = [name for name in dict.fromkeys(names) if name not in first]
    return {**first, **{name: style(i) for i, name in enumerate(others, 1)}}
