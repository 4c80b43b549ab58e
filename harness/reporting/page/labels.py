"""Where names of points stand, so that they lie on no other point, bar or name."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.reporting.page.charts import Chart, Series

WIDTH, HEIGHT = 330.0, 300.0
"""Pixels of the plot on a wide page, the least it has there."""

LETTER, LINE, MARK = 7.3, 17.0, 14.0
"""Pixels of a letter, of a line of text, and of a marker."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

PLACES = {
    "middle right": (1, 0),
    "middle left": (-1, 0),
    "top right": (1, -1),
    "bottom right": (1, 1),
    "top left": (-1, -1),
    "bottom left": (-1, 1),
    "top center": (0, -1),
    "bottom center": (0, 1),
}
"""plotly's names of where text may stand, with the direction from its point, the best first."""


def label_positions(chart: Chart) -> dict[str, str]:
    """plotly's `textposition` for each method on the front of a chart of points.

    The names are placed one by one, the longest first, each where it covers least.
    """
    points = {series.method: _pixel(chart, series, float(series.y[0])) for series in chart.series}
    taken = [_around(*at, MARK, MARK) for at in points.values()]
    for series in chart.series:
        x, low = _pixel(chart, series, series.low[0] if series.low else float(series.y[0]))
        _, high = _pixel(chart, series, series.high[0] if series.high else float(series.y[0]))
        taken.append((x - 2, high, x + 2, low))
    found = {}
    for method in sorted((m for m in points if m in chart.front), key=len, reverse=True):
        boxes = {name: _text_box(points[method], direction, method) for name, direction in PLACES.items()}
        best = min(boxes, key=lambda name: _covered(boxes[name], taken))
        taken.append(boxes[best])
        found[method] = best
    return found


def _pixel(chart: Chart, series: Series, y: float) -> tuple[float, float]:
    """Where a value lies in the plot, from its top left corner, as plotly sets the axes by itself."""
    costs = [float(one.x[0]) for one in chart.series]
    ends = [v for one in chart.series for v in (*one.y, *one.low, *one.high)]
    low, high = min(ends), max(ends)
    x = float(series.x[0])
    if chart.x.log:
        left, right = math.log(min(costs)), math.log(max(costs))
        across = (math.log(x) - left) / ((right - left) or 1.0)
        across = 0.05 + 0.9 * across
    else:
        across = x / (1.06 * max(costs))
    return across * WIDTH, (0.05 + 0.9 * (high - y) / ((high - low) or 1.0)) * HEIGHT


def _around(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _text_box(point: tuple[float, float], direction: tuple[int, int], text: str) -> Box:
    width = LETTER * len(text)
    x = point[0] + direction[0] * (width + MARK) / 2
    y = point[1] + direction[1] * (LINE + MARK) / 2
    return _around(x, y, width, LINE)


def _covered(box: Box, taken: Sequence[Box]) -> float:
    """Square pixels of a box that lie on what is there, or outside the plot, which is worse."""
    inside = _overlap(box, (0.0, 0.0, WIDTH, HEIGHT))
    outside = (box[2] - box[0]) * (box[3] - box[1]) - inside
    return sum(_overlap(box, other) for other in taken) + 3 * outside


def _overlap(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)
