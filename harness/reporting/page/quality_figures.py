"""The figures of how good methods are: intervals, differences, cell types, thresholds and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from harness.evaluation.cell_metrics import ERRORS
from harness.reporting.columns import interval, number, versus
from harness.reporting.page.charts import COLOURS, Axis, Chart, Part, Series, Style
from harness.reporting.row import Row

PARTS = (
    Part("missed", "missed", Style(COLOURS[0], "square", "■", "solid", "")),
    Part("merged", "merged", Style(COLOURS[5], "square", "■", "solid", "/")),
    Part("split", "split", Style(COLOURS[2], "square", "■", "solid", "x")),
    Part("poor_outline", "poor outline", Style(COLOURS[4], "square", "■", "solid", ".")),
    Part("false", "false", Style(COLOURS[1], "square", "■", "solid", "\\")),
)
"""Errors in the order of the bars: cells without a partner first, then predictions without one."""


def intervals(rows: Sequence[Row]) -> list[Chart]:
    """IoU of each method with its interval over images."""
    known = [(row, iou, i) for row in rows if (iou := row.quality.iou) is not None and (i := row.quality.interval)]
    if not known:
        return []
    return [
        Chart(
            "iou",
            "IoU of each method",
            "Mean over seeds; the bar is the 95 % interval over validation images. Bars that overlap do not say that "
            "two methods are equal: the difference on the same images is surer, see the next figure.",
            "intervals",
            Axis("IoU"),
            Axis(""),
            [Series(row.method, [iou], [], [i.low], [i.high]) for row, iou, i in known],
            ["method", "position", "IoU", "95 % over images"],
            [[row.method, str(row.position), number(iou, 4), interval(i, 3)] for row, iou, i in known],
        )
    ]


def differences(rows: Sequence[Row]) -> list[Chart]:
    """Each method minus the baseline."""
    known = [(row.method, row.quality.vs_baseline) for row in rows if row.quality.vs_baseline is not None]
    if not known:
        return []
    baseline = next((row.method for row in rows if row.is_baseline), "the baseline")
    return [
        Chart(
            "difference",
            f"Difference from {baseline}",
            "On the same images; the bar is the 95 % interval, corrected for the number of methods. It is over images "
            "and training runs where there are several seeds, and over images alone where there is one. Right of zero "
            "is better than the baseline.",
            "intervals",
            Axis("difference in IoU", zero=True),
            Axis(""),
            [Series(name, [d.mean], [], [d.interval.low], [d.interval.high]) for name, d in known],
            ["method", "difference", "95 %", "told apart"],
            [[name, f"{d.mean:+.4f}", interval(d.interval, 3, "+"), versus(d)] for name, d in known],
        )
    ]


def scores_by_type(rows: Sequence[Row], types: Sequence[str]) -> list[Chart]:
    """IoU of each method on each cell type."""
    known = [(row.method, row.quality.by_type) for row in rows if row.quality.by_type]
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
            [Series(method, [t for t in types if t in found], list(found.values())) for method, found in known],
            ["method", *types],
            [[method, *(number(found.get(t), 4) for t in types)] for method, found in known],
            wide=True,
        )
    ]


def precision_by_threshold(rows: Sequence[Row]) -> list[Chart]:
    """Precision at each IoU threshold."""
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


def error_counts(rows: Sequence[Row]) -> list[Chart]:
    """How many cells were missed, merged, split or badly outlined, and how many predictions touch none."""
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
    found: list[Mapping[str, float]] = [getattr(r.scores, field) for r in row.good_records if r.scores]
    names = list(dict.fromkeys(name for one in found for name in one))
    return {name: fmean(one[name] for one in found if name in one) for name in names}
