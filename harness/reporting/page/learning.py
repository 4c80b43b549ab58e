"""The figures of how methods learn: loss and IoU along training, and how long they take to an IoU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.reporting.columns import number
from harness.reporting.curves import Curve, iou_curve, loss_curve
from harness.reporting.format import time_unit
from harness.reporting.page.charts import Axis, Chart, Kind, Series
from harness.reporting.row import Row

TARGETS = (0.5, 0.75, 0.9)
"""Fractions of the highest IoU of all curves, to which the training time is measured."""
_QUARTERS = (0.25, 0.5, 0.75, 1.0)

_LOSS = (
    "Sum of all losses, mean over seeds, each point a mean over a stretch of steps. One panel a method, all with the "
    "same axes; the thin line is the baseline's."
)
_IOU = (
    "Validation IoU of a fixed few images, mean over seeds; looking stops the clock. Would more budget help? The last "
    "doubling, in the numbers, is what the second half of the budget gained. A longer run takes another way there, "
    "since its learning rate falls more slowly."
)

Curves = Mapping[str, Curve]
"""Method to curve."""


def iou_curves(rows: Sequence[Row]) -> dict[str, Curve]:
    """Of the methods that have one."""
    return {row.method: curve for row in rows if (curve := iou_curve(row)) is not None}


def iou_charts(rows: Sequence[Row], curves: Curves) -> list[Chart]:
    """Validation IoU over training time and over iterations."""
    return _charts("progress", "Validation IoU", "IoU", _IOU, "lines", curves, _away(rows))


def loss_charts(rows: Sequence[Row], run_dir: Path) -> tuple[list[Chart], list[str]]:
    """Training loss over time and over iterations, and a line for each thing that could not be drawn."""
    losses: dict[str, Curve] = {}
    problems: list[str] = []
    for row in rows:
        curve, bad = loss_curve(run_dir, row)
        problems += bad
        if curve is not None:
            losses[row.method] = curve
    if rows and not losses:
        problems.append("No curve of the training loss: the run's folder does not hold the curve.csv of its trials.")
    return _charts("loss", "Training loss", "training loss", _LOSS, "panels", losses, _away(rows)), problems


def time_to_iou(rows: Sequence[Row], curves: Curves) -> list[Chart]:
    """Training time until validation IoU reaches parts of the highest that any method reached."""
    here = _without(curves, _away(rows))
    highest = max((float(np.nanmax(c.value)) for c in here.values() if np.isfinite(c.value).any()), default=0.0)
    targets = [target for part in TARGETS if (target := round(part * highest, 2)) > 0]
    if not targets:
        return []
    unit, seconds = _unit(here)
    reached = {m: {f"IoU {t:.2f}": time_to(curve, t) for t in targets} for m, curve in here.items()}
    times = {m: {name: t / seconds for name, t in found.items() if t is not None} for m, found in reached.items()}
    return [
        Chart(
            "time-to-iou",
            "Training time to an IoU",
            "When the curve of validation IoU first reaches half, three quarters and nine tenths of the highest point "
            "of all curves, read between the looks along training; no bar where it never does."
            + _left_out(curves, _away(rows)),
            "bars",
            Axis(""),
            Axis(f"training time, {unit}", zero=True),
            [Series(method, list(found), list(found.values())) for method, found in times.items() if found],
            ["method", *(f"{unit} to IoU {t:.2f}" for t in targets)],
            [
                [m, *(f"{found[n]:.4g}" if n in found else "not reached" for n in reached[m])]
                for m, found in times.items()
            ],
            wide=True,
        )
    ]


def time_to(curve: Curve, target: float) -> float | None:
    """Seconds until the IoU first is `target`, interpolated between two evaluations; None where it is never reached.

    Those of the first evaluation where it is reached there already, since nothing is known of the time before.
    """
    reached = np.flatnonzero(curve.value >= target)
    if not len(reached):
        return None
    i = int(reached[0])
    if i == 0:
        return float(curve.seconds[0])
    return float(np.interp(target, curve.value[i - 1 : i + 1], curve.seconds[i - 1 : i + 1]))


def _charts(
    slug: str, title: str, axis: str, caption: str, kind: Kind, curves: Curves, away: Sequence[str]
) -> list[Chart]:
    """Over time, without the methods whose times were taken on another machine, and over iterations."""
    here = _without(curves, away)
    unit, seconds = _unit(here)
    over: tuple[tuple[str, str, str, Curves, Callable[[Curve], np.ndarray]], ...] = (
        ("time", f"training time, {unit}", _left_out(curves, away), here, lambda c: c.seconds / seconds),
        ("iterations", "iterations", "", curves, lambda c: c.iterations),
    )
    return [
        Chart(
            f"{slug}-{name}",
            f"{title} over {name}",
            caption + left_out,
            kind,
            Axis(x_title, zero=True),
            Axis(axis, zero=slug == "progress"),
            [Series(method, x_of(c).tolist(), c.value.tolist()) for method, c in drawn.items()],
            ["method", *(f"{axis} at {part:.0%}" for part in _QUARTERS), "last doubling", f"{x_title} at the end"],
            [[method, *_along(c), f"{x_of(c)[-1]:.4g}"] for method, c in drawn.items()],
            wide=kind == "panels",
        )
        for name, x_title, left_out, drawn, x_of in over
        if drawn
    ]


def _along(curve: Curve) -> list[str]:
    values = np.interp(np.multiply(_QUARTERS, curve.seconds[-1]), curve.seconds, curve.value)
    return [*(number(float(value), 4) for value in values), f"{values[-1] - values[1]:+.4f}"]


def _away(rows: Sequence[Row]) -> list[str]:
    """Methods whose times were taken on another machine."""
    return [row.method for row in rows if not row.cost.same_machine]


def _without(curves: Curves, away: Sequence[str]) -> dict[str, Curve]:
    return {method: curve for method, curve in curves.items() if method not in away}


def _left_out(curves: Curves, away: Sequence[str]) -> str:
    found = [method for method in curves if method in away]
    return f" Left out, since made on another machine: {', '.join(found)}." if found else ""


def _unit(curves: Curves) -> tuple[str, float]:
    return time_unit(float(curve.seconds[-1]) for curve in curves.values())
