"""Which figures a report has, made from the leaderboard: one function a figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from harness.evaluation.cell_metrics import ERRORS
from harness.reporting.format import time_unit
from harness.reporting.leaderboard import Leaderboard, Row
from harness.reporting.page.charts import COLOURS, Axis, Chart, Part, Series, Style, style
from harness.reporting.page.learning import learning
from harness.reporting.table import interval, number

WIDE_RATIO = 20.0
"""An axis of costs is logarithmic where the largest is so many times the smallest."""

Group = tuple[str, list[Chart]]
"""A heading and its charts."""

PARTS = (
    Part("missed", "missed", Style(COLOURS[0], "square", "■", "solid", "")),
    Part("merged", "merged", Style(COLOURS[5], "square", "■", "solid", "/")),
    Part("split", "split", Style(COLOURS[2], "square", "■", "solid", "x")),
    Part("poor_outline", "poor outline", Style(COLOURS[4], "square", "■", "solid", ".")),
    Part("false", "false", Style(COLOURS[1], "square", "■", "solid", "\\")),
)
"""Errors in the order of the bars: cells without a partner first, then predictions without one."""


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
    rows = [row for row in board.rows if row.rank is not None]
    notes = []
    left_out = [row.method for row in board.rows if row.rank is None and row.iou is not None]
    if left_out:
        notes.append(f"Not in the figures, since made under other conditions: {', '.join(left_out)}.")
    training, problems = learning(rows, run_dir)
    groups: list[Group] = [
        ("How good, and how sure", [*_sure(rows), *_differences(rows)]),
        ("What it costs", _costs(rows)),
        ("How it learns", training),
        ("Where it is good", [*_by_type(rows, board.types), *_by_threshold(rows)]),
        ("What goes wrong", _errors(rows)),
    ]
    drawn = [(heading, charts) for heading, charts in groups if charts]
    return Figures(drawn, styles(rows), [*notes, *problems])


def styles(rows: Sequence[Row]) -> dict[str, Style]:
    """By method: number 0 is the baseline's alone, the others follow in the order of the table."""
    others = [row.method for row in rows if not row.is_baseline]
    first = {row.method: style(0) for row in rows if row.is_baseline}
    return {**first, **{name: style(i) for i, name in enumerate(others, 1)}}


# ----------------------------------------------------------------------------------------------------- how good


def _sure(rows: Sequence[Row]) -> list[Chart]:
    known = [(row, row.iou, row.interval) for row in rows if row.iou is not None and row.interval is not None]
    if not known:
        return []
    return [
        Chart(
            "iou",
            "IoU of each method",
            "Mean over seeds; the bar is the 95 % interval over validation images. Methods of one rank cannot be told "
            "apart.",
            "intervals",
            Axis("IoU"),
            Axis(""),
            [Series(row.method, [iou], [], [i.low], [i.high]) for row, iou, i in known],
            ["method", "rank", "IoU", "95 % over images"],
            [[row.method, str(row.rank), number(iou, 4), interval(i, 3)] for row, iou, i in known],
        )
    ]


def _differences(rows: Sequence[Row]) -> list[Chart]:
    known = [(row.method, row.difference) for row in rows if row.difference is not None]
    baseline = next((row.method for row in rows if row.is_baseline), "the baseline")
    if not known:
        return []
    return [
        Chart(
            "difference",
            f"Difference from {baseline}",
            "On the same images; the bar is the 95 % interval over images and, where there are several seeds, training "
            "runs. Right of zero is better than the baseline.",
            "intervals",
            Axis("difference in IoU", zero=True),
            Axis(""),
            [Series(name, [d.mean], [], [d.interval.low], [d.interval.high]) for name, d in known],
            ["method", "difference", "95 %"],
            [[name, f"{d.mean:+.4f}", interval(d.interval, 3, "+")] for name, d in known],
        )
    ]


# -------------------------------------------------------------------------------------------------------- costs

SAME_COST = 0.02
"""Costs that differ by less than this fraction are not told apart."""


def _costs(rows: Sequence[Row]) -> list[Chart]:
    unit, seconds = time_unit([row.train_seconds for row in rows])
    wanted: list[tuple[str, str, str, Callable[[Row], float | None]]] = [
        ("training", "IoU against training time", f"training time, {unit}", lambda r: _per(r.train_seconds, seconds)),
        ("memory", "IoU against memory", "peak memory, GiB", lambda r: _per(r.memory, 2**30)),
        ("inference", "IoU against inference time", "inference, ms per image", lambda r: r.inference_ms),
    ]
    charts = [_cost(rows, slug, title, axis, cost) for slug, title, axis, cost in wanted]
    return [chart for chart in charts if chart is not None]


def _cost(rows: Sequence[Row], slug: str, title: str, axis: str, cost: Callable[[Row], float | None]) -> Chart | None:
    known = [(r, x, r.iou) for r in rows if r.same_machine and r.iou is not None and (x := cost(r)) is not None]
    if not known:
        return None
    away = [row.method for row in rows if not row.same_machine]
    front = pareto([(x, y) for _, x, y in known])
    on_front = [row.method for (row, _, _), marked in zip(known, front, strict=True) if marked]
    least, most = min(x for _, x, _ in known), max(x for _, x, _ in known)
    ends = [(r.interval.low, r.interval.high) if r.interval else (y, y) for r, _, y in known]
    return Chart(
        f"cost-{slug}",
        title,
        "Up and to the left is better. Named, ringed and joined: the Pareto front, methods than which none is both "
        "cheaper and better; costs within 2 % are the same. Bars: 95 % over images."
        + (f" Left out, since made on another machine: {', '.join(away)}." if away else ""),
        "points",
        Axis(axis, log=least > 0 and most / least > WIDE_RATIO, zero=True),
        Axis("IoU"),
        [Series(r.method, [x], [y], [low], [high]) for (r, x, y), (low, high) in zip(known, ends, strict=True)],
        ["method", axis, "IoU", "Pareto front"],
        [[r.method, f"{x:.4g}", number(y, 4), "yes" if r.method in on_front else "no"] for r, x, y in known],
        front=on_front,
    )


def pareto(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether each (cost, gain) has no other that gains more at no more cost, or no less at less cost.

    Costs nearer than SAME_COST are the same: under a budget of time all train equally long, to a fraction of a step.
    """

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        (cost, gain), (others_cost, others_gain) = one, other
        no_dearer, cheaper = cost <= others_cost * (1 + SAME_COST), cost * (1 + SAME_COST) < others_cost
        return (no_dearer and gain > others_gain) or (cheaper and gain >= others_gain)

    return [not any(beats(other, point) for other in points) for point in points]


def _per(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


# -------------------------------------------------------------------------------------------------------- where


def _by_type(rows: Sequence[Row], types: Sequence[str]) -> list[Chart]:
    known = [row for row in rows if row.by_type]
    if not known:
        return []
    return [
        Chart(
            "types",
            "IoU by cell type",
            "Mean over the validation images of each type and over seeds.",
            "bars",
            Axis(""),
            Axis("IoU", zero=True),
            [Series(r.method, [t for t in types if t in r.by_type], list(r.by_type.values())) for r in known],
            ["method", *types],
            [[row.method, *(number(row.by_type.get(t), 4) for t in types)] for row in known],
            wide=True,
        )
    ]


def _by_threshold(rows: Sequence[Row]) -> list[Chart]:
    curves = {row.method: found for row in rows if (found := _mean_of(row, "by_threshold"))}
    if not curves:
        return []
    names = list(next(iter(curves.values())))
    return [
        Chart(
            "thresholds",
            "Precision over IoU thresholds",
            "Mean precision TP / (TP + FP + FN) when a cell counts as found above this IoU; the mean of a line is "
            "the method's IoU. A line that falls early has loose outlines.",
            "lines",
            Axis("IoU threshold"),
            Axis("mean precision", zero=True),
            [Series(m, [float(t) for t in curve], list(curve.values())) for m, curve in curves.items()],
            ["method", *names],
            [[method, *(number(curve.get(name), 3) for name in names)] for method, curve in curves.items()],
            wide=True,
        )
    ]


def _errors(rows: Sequence[Row]) -> list[Chart]:
    counts = {row.method: found for row in rows if (found := _mean_of(row, "errors"))}
    if not counts:
        return []
    assert {part.name for part in PARTS} == set(ERRORS)
    return [
        Chart(
            "errors",
            "Errors of each method",
            "At an IoU of 0.5, all validation images together, mean over seeds. Missed, merged, split and poor outline "
            "are annotated cells without a partner; false are predictions that touch none.",
            "stack",
            Axis("cells and predictions", zero=True),
            Axis(""),
            [
                Series(method, [count.get(part.name, 0.0)], [], part=part.name)
                for method, count in counts.items()
                for part in PARTS
            ],
            ["method", *(part.title for part in PARTS)],
            [[m, *(f"{count.get(part.name, 0.0):.1f}" for part in PARTS)] for m, count in counts.items()],
            parts=PARTS,
            wide=True,
        )
    ]


def _mean_of(row: Row, field: str) -> dict[str, float]:
    """The mean over seeds of a mapping of the scores, by its names."""
    found: list[Mapping[str, float]] = [getattr(r.scores, field) for r in row.records if r.status == "ok" and r.scores]
    names = list(dict.fromkeys(name for one in found for name in one))
    return {name: fmean(one[name] for one in found if name in one) for name in names}
