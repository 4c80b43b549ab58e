"""The figure of a search for settings: the highest IoU against trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.reporting.columns import number
from harness.reporting.page.charts import Axis, Chart, Series
from harness.reporting.row import Row


@dataclass(frozen=True)
class BestSoFar:
    """values: highest IoU on calibration images after each trial of a method."""

    method: str
    values: Sequence[float]


def tuning_charts(rows: Sequence[Row]) -> list[Chart]:
    """Of the methods whose presets were tuned."""
    tuned = [(row, record.tuned) for row in rows if (record := row.good_records[0]).tuned is not None]
    curves = [BestSoFar(row.method, facts.best) for row, facts in tuned if facts is not None and facts.best]
    return [tuning_chart(curves)] if curves else []


def tuning_chart(curves: Sequence[BestSoFar]) -> Chart:
    """IoU against trials."""
    return Chart(
        "tuning",
        "What tuning gained",
        "Highest IoU on the calibration images after each trial of the search; the first trial is the preset's own "
        "setting. A line that still rises at its end may gain from more trials.",
        "lines",
        Axis("trials"),
        Axis("IoU, calibration images"),
        [Series(c.method, [float(k) for k in range(1, len(c.values) + 1)], list(c.values)) for c in curves],
        ["method", "trials", "first", "tuned", "gain"],
        [
            [c.method, str(len(c.values)), number(c.values[0], 4), number(c.values[-1], 4), _gain(c.values)]
            for c in curves
        ],
        wide=True,
    )


def _gain(values: Sequence[float]) -> str:
    return f"{values[-1] - values[0]:+.4f}"
