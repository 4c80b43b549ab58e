"""IoU against labelled images: a line for each method, means over seeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.config.split_spec import SplitSpec
from harness.reporting.leaderboard import leaderboard
from harness.reporting.page.figures import figures
from harness.reporting.page.interactive import plotly_charts
from harness.reporting.page.label_figures import label_charts, labelled_images
from harness.results.schema import DataFacts, RunRecord

DATA = DataFacts(
    source="synthetic",
    fingerprint="d" * 64,
    classes=["cell"],
    images=100,
    cells=1000,
    splits={},
    split_fingerprint="e" * 64,
)


def with_labels(make: Callable[..., RunRecord], method: str, number: int, seed: int, quality: float) -> RunRecord:
    data = DATA.model_copy(update={"splits": {"train": [f"i{k}" for k in range(number)]}})
    more: dict[str, Any] = {"labelled_images": str(number)} if number < 80 else {}
    plain = make(method, seed, quality)
    split = SplitSpec(labels=str(number)) if more else SplitSpec()
    settings = {**plain.settings, **more}
    return plain.model_copy(
        update={"data": data, "split": split, "settings": settings, "key": f"{method}{number}{seed}"}
    )


def test_a_line_for_each_method(make: Callable[..., RunRecord], tmp_path: Path) -> None:
    records = [
        with_labels(make, method, number, seed, quality)
        for method, better in (("mask_rcnn", 0.0), ("mean_teacher", 0.1))
        for number, quality in ((20, 0.3), (80, 0.5))
        for seed in (0, 1)
        for quality in [quality + better]
    ]
    board = leaderboard(records)
    assert len(board.ranked) == 4, "rows of other numbers of labels are compared"
    assert sum("[labelled_images 20]" in row.method for row in board.rows) == 2
    (chart,) = label_charts(board.ranked)
    assert [(series.method, list(series.x)) for series in chart.series] == [
        ("mean_teacher", [20.0, 80.0]),
        ("mask_rcnn", [20.0, 80.0]),
    ]
    assert chart.series[0].y[0] > chart.series[1].y[0]
    drawn = figures(board, tmp_path)
    assert "label-efficiency" in [chart.slug for chart in drawn.charts]
    assert plotly_charts(chart, drawn.styles)


def test_one_number_of_labels_is_no_line(make: Callable[..., RunRecord]) -> None:
    assert label_charts(leaderboard([with_labels(make, "mask_rcnn", 20, seed, 0.4) for seed in (0, 1)]).rows) == []


def test_in_folds_the_number_is_what_was_typed(make: Callable[..., RunRecord]) -> None:
    whole = with_labels(make, "mask_rcnn", 20, 0, 0.4)
    assert whole.data is not None
    no_train = whole.data.model_copy(update={"splits": {"train": [], "validation": ["a"]}})
    assert labelled_images(whole.model_copy(update={"data": no_train})) == 20
    share = {"data": no_train, "split": SplitSpec(labels="10%")}
    assert labelled_images(whole.model_copy(update=share)) == 0
