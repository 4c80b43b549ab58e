"""The figures of what methods cost: IoU against memory and against inference time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.reporting.columns import number
from harness.reporting.page.charts import Axis, Chart, Series
from harness.reporting.pareto import pareto
from harness.reporting.row import Row

WIDE_RATIO = 20.0
"""An axis of costs is logarithmic where the largest is so many times the smallest."""


def cost_charts(rows: Sequence[Row]) -> list[Chart]:
    """IoU against each cost that a budget does not set."""
    wanted: list[tuple[str, str, str, Callable[[Row], float | None]]] = [
        ("memory", "IoU against memory", "peak memory, GiB", _gibibytes),
        ("inference", "IoU against inference time", "inference, ms per image", lambda row: row.cost.inference_ms),
    ]
    charts = [_cost_chart(rows, slug, title, axis, cost) for slug, title, axis, cost in wanted]
    return [chart for chart in charts if chart is not None]


def _cost_chart(
    rows: Sequence[Row], slug: str, title: str, axis: str, cost: Callable[[Row], float | None]
) -> Chart | None:
    here = [row for row in rows if row.cost.same_machine]
    known = [(row, x, y) for row in here if (y := row.quality.iou) is not None and (x := cost(row)) is not None]
    if not known:
        return None
    away = [row.method for row in rows if not row.cost.same_machine]
    front = pareto([(x, y) for _, x, y in known])
    on_front = [row.method for (row, _, _), on in zip(known, front, strict=True) if on]
    least, most = min(x for _, x, _ in known), max(x for _, x, _ in known)
    return Chart(
        f"cost-{slug}",
        title,
        "Up and to the left is better. Named, ringed and joined: the Pareto front, methods than which none is both "
        "cheaper and better; costs within 2 % are the same. Bars: 95 % over images."
        + (f" Left out, since made on another machine: {', '.join(away)}." if away else ""),
        "points",
        Axis(axis, log=least > 0 and most / least > WIDE_RATIO, zero=True),
        Axis("IoU"),
        [Series(row.method, [x], [y], *_ends(row, y)) for row, x, y in known],
        ["method", axis, "IoU", "Pareto front"],
        [[row.method, f"{x:.4g}", number(y, 4), "yes" if row.method in on_front else "no"] for row, x, y in known],
        front=on_front,
    )


def _ends(row: Row, iou: float) -> tuple[list[float], list[float]]:
    found = row.quality.interval
    return ([found.low], [found.high]) if found else ([iou], [iou])


def _gibibytes(row: Row) -> float | None:
    return None if row.cost.memory is None else row.cost.memory / 2**30
