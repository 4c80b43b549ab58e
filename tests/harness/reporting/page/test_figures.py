"""Charts from a leaderboard: what they hold, and that both libraries take them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from fake_run import STEPS, with_records
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from harness.reporting.curves import POINTS, Curve, iou_curve, loss_curve
from harness.reporting.leaderboard import leaderboard_of_runs
from harness.reporting.page.charts import Axis, Chart, Series, style
from harness.reporting.page.figures import Figures, figures
from harness.reporting.page.interactive import panel_key, plotly_charts
from harness.reporting.page.labels import MARK, PLACES, WIDTH, _around, _overlap, _pixel, _text_box, label_positions
from harness.reporting.page.learning import _along, time_to
from harness.reporting.page.printed import render
from harness.reporting.pareto import pareto
from harness.results.io import read_record, write_record


@pytest.fixture(scope="module")
def drawn(run_dir: Path) -> Figures:
    return figures(leaderboard_of_runs([run_dir]), run_dir)


def test_all_figures_are_there(drawn: Figures) -> None:
    assert [chart.slug for chart in drawn.charts] == [
        "iou", "difference", "time-to-iou", "cost-memory", "cost-inference", "progress-time", "progress-iterations",
        "loss-time", "loss-iterations", "types", "thresholds", "errors",
    ]  # fmt: skip


def test_only_ranked_rows_are_drawn_and_the_others_named(drawn: Figures) -> None:
    assert any("torchvision_starter" in note for note in drawn.notes)
    for chart in drawn.charts:
        assert not {"torchvision_starter", "mask_rcnn_x101"} & set(chart.methods), chart.slug
        assert all(len(line) == len(chart.header) for line in chart.body)


def test_numbers_are_those_of_the_records(run_dir: Path, drawn: Figures) -> None:
    row = next(row for row in leaderboard_of_runs([run_dir]).rows if row.method == "deepmac")
    scores = [record.scores for record in row.provenance.records if record.scores]
    by_slug = {chart.slug: chart for chart in drawn.charts}

    [curve] = [series for series in by_slug["thresholds"].series if series.method == "deepmac"]
    assert curve.y[0] == pytest.approx(np.mean([s.by_threshold["0.50"] for s in scores]))
    assert np.mean(curve.y) == pytest.approx(row.quality.iou), "the mean over thresholds is the IoU"
    errors = {s.part: s.x[0] for s in by_slug["errors"].series if s.method == "deepmac"}
    assert errors["missed"] == pytest.approx(np.mean([s.errors["missed"] for s in scores]))
    [memory] = [series for series in by_slug["cost-memory"].series if series.method == "deepmac"]
    assert memory.x[0] == pytest.approx(4.2, abs=0.01)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8))
def test_pareto_front(points: list[tuple[int, int]]) -> None:
    front = pareto([(float(cost), float(gain)) for cost, gain in points])
    assert any(front)
    for (cost, gain), on_front in zip(points, front, strict=True):
        beaten = any(c <= cost and g >= gain and (c, g) != (cost, gain) for c, g in points)
        assert on_front is not beaten


def test_a_fraction_of_a_step_is_no_cheaper_training() -> None:
    assert pareto([(100.0, 0.1), (99.5, 0.09), (90.0, 0.08), (90.5, 0.07)]) == [True, False, True, False]


def test_styles_differ_without_colour_among_the_first_and_with_it_among_many() -> None:
    looks = [style(i) for i in range(43)]
    assert len({(look.colour, look.marker) for look in looks}) == 43
    assert len({look.marker for look in looks[:8]}) == 8


def test_plotly_knows_every_property(drawn: Figures) -> None:
    go = pytest.importorskip("plotly.graph_objects")
    for chart in drawn.charts:
        for plain in plotly_charts(chart, drawn.styles).values():
            assert len(plain["methods"]) == len(plain["data"])
            coloured = json.loads(json.dumps(plain, allow_nan=False).replace("var(--", "var(--ddk-"))
            go.Figure(coloured["data"], coloured["layout"])


@pytest.mark.parametrize(("form", "begin"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_a_paper_gets_the_same_figures(drawn: Figures, form: str, begin: bytes) -> None:
    for chart in (c for c in drawn.charts if c.slug in ("iou", "cost-memory", "loss-time", "types", "errors")):
        made = render(chart, drawn.styles, form)
        assert made.startswith(begin)
        assert len(made) > 5000
    assert render(drawn.charts[0], drawn.styles, form) == render(drawn.charts[0], drawn.styles, form)


def test_loss_is_a_mean_over_seeds_and_stretches(run_dir: Path) -> None:
    row = next(row for row in leaderboard_of_runs([run_dir]).rows if row.method == "mask_rcnn")
    curve, problems = loss_curve(run_dir, row)
    assert problems == []
    assert curve is not None
    assert len(curve.value) == POINTS
    totals = []
    for record in row.provenance.records:
        lines = (run_dir / record.log).with_name("curve.csv").read_text("utf-8").splitlines()[1:]
        totals.append([sum(float(v) for v in line.split(",")[4:]) for line in lines])
    assert len(totals[0]) == STEPS
    assert curve.value[0] == pytest.approx(np.mean([t[:2] for t in totals]))


def test_validation_iou_ends_where_the_records_do(run_dir: Path) -> None:
    row = next(row for row in leaderboard_of_runs([run_dir]).rows if row.method == "container")
    curve = iou_curve(row)
    assert curve is not None
    assert curve.value[-1] == pytest.approx(row.quality.iou)
    assert curve.iterations.tolist() == [20, 50, 100, 150, 200]


def test_seeds_are_evaluated_a_step_apart_under_a_budget_of_time(run_dir: Path) -> None:
    row = next(row for row in leaderboard_of_runs([run_dir]).rows if row.method == "mask_rcnn")
    assert len(row.provenance.records) > 1
    records = [
        record.model_copy(
            update={
                "learning_curve": [
                    p.model_copy(update={"fraction": min(p.fraction + 0.003 * seed, 1.0)})
                    for p in record.learning_curve
                ]
            }
        )
        for seed, record in enumerate(row.provenance.records)
    ]
    curve, exact = iou_curve(with_records(row, records)), iou_curve(row)
    assert curve is not None
    assert exact is not None
    assert curve.value.tolist() == exact.value.tolist()
    assert len(curve.value) == 5


def test_a_logarithmic_axis_has_plain_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text is no formula in these charts, and matplotlib's own labels of such an axis are formulas."""
    labels: list[str] = []

    def look(self: Figure, *_: object, **__: object) -> None:
        self.draw_without_rendering()
        labels.extend(label.get_text() for label in self.axes[0].get_xticklabels())

    monkeypatch.setattr(Figure, "savefig", look)
    series = [Series(name, [x], [0.5], [0.4], [0.6]) for name, x in (("a", 12.0), ("b", 300.0))]
    chart = Chart("cost", "Cost", "", "points", Axis("ms", log=True), Axis("IoU"), series, [], [], front=["a"])
    render(chart, {name: style(number) for number, name in enumerate("ab")}, "png")
    shown = [float(label) for label in labels if label]
    assert {20.0, 50.0, 100.0, 200.0} <= set(shown)
    assert "100" in labels


def test_quarters_are_read_along_the_time_however_few_evaluations_there_are() -> None:
    looks = np.asarray([25.0, 50.0, 75.0, 100.0])
    assert _along(Curve(looks, looks, looks / 100)) == ["0.2500", "0.5000", "0.7500", "1.0000", "+0.5000"]


def test_time_to_an_iou() -> None:
    curve = Curve(np.asarray([10.0, 20.0, 30.0, 40.0]), np.zeros(4), np.asarray([0.1, 0.3, 0.2, 0.5]))
    assert time_to(curve, 0.2) == pytest.approx(15.0)
    assert time_to(curve, 0.4) == pytest.approx(30 + 10 * 2 / 3)
    assert time_to(curve, 0.05) == 10.0, "of the time before the first look nothing is known"
    assert time_to(curve, 0.51) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0.01, 1))
def test_time_to_an_iou_is_the_first_time_it_is_there(values: list[float], target: float) -> None:
    seconds = np.arange(1.0, len(values) + 1)
    found = time_to(Curve(seconds, seconds, np.asarray(values)), target)
    assert (found is None) == (max(values) < target)
    if found is not None:
        assert float(np.interp(found, seconds, values)) == pytest.approx(target) or found == 1.0
        assert all(value < target for second, value in zip(seconds, values, strict=True) if second < found)


def test_times_of_another_machine_are_in_no_figure_of_times(own_run: Path) -> None:
    for path in own_run.glob("trials/container*/record.json"):
        write_record(path, read_record(path).model_copy(update={"machine": {"cpu": "another"}}))
    charts = {chart.slug: chart for chart in figures(leaderboard_of_runs([own_run]), own_run).charts}
    for slug in ("loss-time", "progress-time", "time-to-iou", "cost-memory"):
        assert "container" not in charts[slug].methods, slug
        assert "container" in charts[slug].caption, slug
    for slug in ("iou", "loss-iterations", "progress-iterations"):
        assert "container" in charts[slug].methods, slug


@pytest.mark.parametrize(
    "text", ["", "step,seconds,loss\n", "step,seconds,loss\n1,x,2\n", "a\n1\n", "step,seconds\n1\n"]
)
def test_a_damaged_curve_is_named_and_the_rest_drawn(own_run: Path, text: str) -> None:
    [first, *_] = sorted(own_run.glob("trials/copy_paste*/curve.csv"))
    first.write_text(text)
    drawn = figures(leaderboard_of_runs([own_run]), own_run)
    assert any(str(first) in note for note in drawn.notes)
    loss = next(chart for chart in drawn.charts if chart.slug == "loss-time")
    assert "copy_paste" in loss.methods, "its other seed is still there"


def test_gaps_where_a_loss_is_not_finite(own_run: Path) -> None:
    for path in own_run.glob("trials/spinenet*/curve.csv"):
        path.write_text("step,seconds,data_wait,learning_rate,loss\n1,1,0,0.1,2\n2,2,0,0.1,nan\n3,3,0,0.1,1\n")
    drawn = figures(leaderboard_of_runs([own_run]), own_run)
    loss = next(chart for chart in drawn.charts if chart.slug == "loss-time")
    [series] = [s for s in loss.series if s.method == "spinenet"]
    assert series.y[0] == 2
    assert math.isnan(series.y[1])
    panel = plotly_charts(loss, drawn.styles)[panel_key(loss, "spinenet")]
    assert panel["data"][panel["methods"].index("spinenet")]["y"] == [2, None, 1]


def test_loss_has_a_panel_a_method_with_the_baseline_s_line_in_each(drawn: Figures) -> None:
    loss = next(chart for chart in drawn.charts if chart.slug == "loss-time")
    panels = plotly_charts(loss, drawn.styles)
    assert len(panels) == len(loss.methods)
    ranges = {json.dumps(panel["layout"][axis]["range"]) for panel in panels.values() for axis in ("xaxis", "yaxis")}
    assert len(ranges) == 2, "all panels have the same axes"
    baseline = panels[panel_key(loss, "mask_rcnn")]["data"]
    assert len(baseline) == 1
    for method in set(loss.methods) - {"mask_rcnn"}:
        behind, own = panels[panel_key(loss, method)]["data"]
        assert behind["y"] == baseline[0]["y"] != own["y"]


def test_names_of_points_lie_on_no_point_and_on_no_other_name() -> None:
    points = [
        ("mask_rcnn", 1.0, 0.5),
        ("container", 1.02, 0.52),
        ("a_long_name_of_a_method", 3.0, 0.6),
        ("x", 3.0, 0.3),
    ]
    series = [Series(name, [x], [y], [y - 0.01], [y + 0.01]) for name, x, y in points]
    chart = Chart(
        "c",
        "",
        "",
        "points",
        Axis("cost", zero=True),
        Axis("IoU"),
        series,
        [],
        [],
        front=["mask_rcnn", "container", "a_long_name_of_a_method"],
    )
    where = label_positions(chart)
    assert set(where) == set(chart.front)
    marks = {s.method: _pixel(chart, s, float(s.y[0])) for s in series}
    boxes = {name: _text_box(marks[name], PLACES[place], name) for name, place in where.items()}
    for name, box in boxes.items():
        assert box[2] <= WIDTH
        assert all(_overlap(box, _around(*at, MARK, MARK)) == 0 for at in marks.values())
        assert all(_overlap(box, other) == 0 for other_name, other in boxes.items() if other_name != name)


def test_records_alone_have_all_but_the_loss(own_run: Path) -> None:
    for path in own_run.glob("trials/*/curve.csv"):
        path.unlink()
    drawn = figures(leaderboard_of_runs([own_run]), own_run)
    slugs = [chart.slug for chart in drawn.charts]
    assert "loss-time" not in slugs
    assert "progress-time" in slugs
    assert any("curve.csv" in note for note in drawn.notes)
