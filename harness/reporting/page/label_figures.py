"""The figure of label efficiency: IoU against the number of labelled images, a line for each method."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from harness.reporting.columns import number
from harness.reporting.page.charts import Axis, Chart, Series
from harness.reporting.row import Row
from harness.results.schema import RunRecord


def label_charts(rows: Sequence[Row]) -> list[Chart]:
    """IoU against labelled images, where a method was trained with several numbers of them (`--labels`)."""
    lines: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in (record for row in rows for record in row.good_records):
        labelled = labelled_images(record)
        if labelled and record.scores is not None:
            lines[record.method][labelled].append(record.scores.iou_map)
    if all(len(line) < 2 for line in lines.values()):
        return []
    means = {method: {n: fmean(line[n]) for n in sorted(line)} for method, line in lines.items()}
    numbers = sorted({n for line in means.values() for n in line})
    return [
        Chart(
            "label-efficiency",
            "IoU against labelled images",
            "Mean over seeds, on the same validation images. The labelled images are the same for all methods, and a "
            "smaller number of them is part of a larger one. Methods that learn from unlabelled images had the other "
            "training images too, without labels.",
            "lines",
            Axis("labelled training images", zero=True),
            Axis("IoU"),
            [Series(method, [float(n) for n in line], list(line.values())) for method, line in means.items()],
            ["method", *(f"{n:g}" for n in numbers)],
            [[method, *(number(line.get(n), 4) for n in numbers)] for method, line in means.items()],
        )
    ]


def labelled_images(record: RunRecord) -> float:
    """How many images the trial was trained on with labels; in folds what was typed, 0 where that is a share."""
    if record.data is not None and record.data.splits.get("train"):
        return float(len(record.data.splits["train"]))
    return float(record.split.labels) if record.split.labels.isdecimal() else 0.0
