"""The charts for papers: matplotlib, on white, one file each."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.fileio import make_folder, write_bytes_atomic
from harness.reporting.page.charts import INK, Chart, Style
from harness.reporting.page.figures import Figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 300
WIDTH, WIDE = 3.5, 7.0
"""Inches: one column of a paper, and two."""

PANELS_ACROSS = 5

_SETTINGS: Any = {
    "font.size": 8,
    "axes.titlesize": 9,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    # a PDF holds text as text, and a dollar sign in a name is no formula
    "pdf.fonttype": 42,
    "text.parse_math": False,
}
_INK = "#1b1d21"
_MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "triangle-down": "v", "cross": "P",
            "x": "X", "star": "*"}  # fmt: skip
_DASHES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
_HATCHES = {"": "", "/": "////", "\\": "\\\\\\\\", "x": "xxxx", "-": "----", "|": "||||", ".": "...."}


def write_figures(figures: Figures, folder: Path, form: str) -> list[Path]:
    """Write every chart into a folder as `SLUG.form`, form being "png" or "pdf". Raises StorageError."""
    make_folder(folder)
    written = []
    for chart in figures.charts:
        path = folder / f"{chart.slug}.{form}"
        write_bytes_atomic(path, render(chart, figures.styles, form))
        written.append(path)
    return written


def render(chart: Chart, styles: Mapping[str, Style], form: str) -> bytes:
    """The file's bytes; the same chart gives the same."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(WIDE if chart.wide else WIDTH, _height(chart)), layout="constrained")
        FigureCanvasAgg(figure)
        if chart.kind == "panels":
            _panels(figure, chart, styles)
        else:
            axes = figure.add_subplot()
            {"points": _points, "lines": _lines, "intervals": _intervals, "bars": _bars, "stack": _stack}[chart.kind](
                axes, chart, styles
            )
            _finish(axes, chart)
            _key(figure, axes, chart)
        data = io.BytesIO()
        fixed: dict[str, Any] = {"CreationDate": None} if form == "pdf" else {"Software": None}
        figure.savefig(data, format=form, dpi=DPI, metadata=fixed, bbox_inches="tight")
    return data.getvalue()


def _height(chart: Chart) -> float:
    """Inches."""
    if chart.kind in ("intervals", "stack"):
        return 0.8 + 0.2 * len(chart.methods)
    return 0.5 + 1.25 * -(-len(chart.methods) // PANELS_ACROSS) if chart.kind == "panels" else 2.6


def _panels(figure: Figure, chart: Chart, styles: Mapping[str, Style]) -> None:
    """A small chart per method, with the baseline's line thin behind it; all have the same axes."""
    down = -(-len(chart.series) // PANELS_ACROSS)
    grid = figure.subplots(down, PANELS_ACROSS, sharex=True, sharey=True, squeeze=False).ravel()
    first = min(chart.series, key=lambda series: list(styles).index(series.method))
    for axes, series in zip(grid, chart.series, strict=False):
        axes.plot([float(x) for x in first.x], first.y, color="#8a9099", linewidth=0.7)
        axes.plot([float(x) for x in series.x], series.y, color=_colour(styles[series.method]), linewidth=1.2)
        axes.set_title(series.method, fontsize=7)
    for axes in grid[len(chart.series) :]:
        axes.set_visible(False)
    figure.suptitle(chart.title, fontsize=9)
    figure.supxlabel(chart.x.title, fontsize=8)
    figure.supylabel(chart.y.title, fontsize=8)


def _points(axes: Axes, chart: Chart, styles: Mapping[str, Style]) -> None:
    front = chart.front_points()
    axes.plot(*zip(*front, strict=True), drawstyle="steps-post", color="#5b616b", linestyle="--", linewidth=0.9)
    for series in chart.series:
        style = styles[series.method]
        errors = [
            [y - low for low, y in zip(series.low, series.y, strict=True)],
            [high - y for high, y in zip(series.high, series.y, strict=True)],
        ]
        on_front = series.method in chart.front
        axes.errorbar(
            [float(x) for x in series.x],
            series.y,
            errors,
            label=series.method,
            color=_colour(style),
            elinewidth=0.8,
            capsize=2,
            linestyle="",
            marker=_MARKERS[style.marker],
            markersize=_size(style, 6.5 if on_front else 5),
            markeredgecolor=_INK,
            markeredgewidth=1.4 if on_front else 0.5,
        )


def _lines(axes: Axes, chart: Chart, styles: Mapping[str, Style]) -> None:
    for series in chart.series:
        style = styles[series.method]
        axes.plot(
            [float(x) for x in series.x],
            series.y,
            label=series.method,
            color=_colour(style),
            linestyle=_DASHES[style.dash],
            linewidth=1.2,
            marker=_MARKERS[style.marker],
            markersize=_size(style, 4),
            markeredgecolor=_INK,
            markeredgewidth=0.4,
            markevery=max(1, len(series.y) // 8),
        )


def _intervals(axes: Axes, chart: Chart, styles: Mapping[str, Style]) -> None:
    for place, series in enumerate(chart.series):
        style = styles[series.method]
        value = float(series.x[0])
        axes.errorbar(
            [value],
            [place],
            xerr=[[value - series.low[0]], [series.high[0] - value]],
            color=_colour(style),
            elinewidth=1,
            capsize=2.5,
            marker=_MARKERS[style.marker],
            markersize=_size(style, 5),
            markeredgecolor=_INK,
            markeredgewidth=0.5,
        )
    _rows(axes, chart)
    if chart.x.zero:
        axes.axvline(0, color="#5b616b", linewidth=0.8)


def _bars(axes: Axes, chart: Chart, styles: Mapping[str, Style]) -> None:
    names = list(dict.fromkeys(str(x) for series in chart.series for x in series.x))
    width = 0.85 / len(chart.series)
    for at, series in enumerate(chart.series):
        left = [names.index(str(x)) - 0.425 + width * (at + 0.5) for x in series.x]
        axes.bar(left, series.y, width, label=series.method, **_filled(styles[series.method]))
    axes.set_xticks(range(len(names)), names)
    axes.grid(False, axis="x")


def _stack(axes: Axes, chart: Chart, styles: Mapping[str, Style]) -> None:
    methods = chart.methods
    ends = dict.fromkeys(methods, 0.0)
    for part in chart.parts:
        values = {s.method: float(s.x[0]) for s in chart.series if s.part == part.name}
        starts = [ends[method] for method in values]
        places = [methods.index(method) for method in values]
        axes.barh(places, list(values.values()), 0.7, starts, label=part.title, **_filled(part.style))
        ends = {method: end + values.get(method, 0.0) for method, end in ends.items()}
    _rows(axes, chart)


def _rows(axes: Axes, chart: Chart) -> None:
    axes.set_yticks(range(len(chart.methods)), chart.methods)
    axes.set_ylim(len(chart.methods) - 0.4, -0.6)
    axes.grid(False, axis="y")


def _finish(axes: Axes, chart: Chart) -> None:
    axes.set_title(chart.title, loc="left")
    axes.set_xlabel(chart.x.title)
    if chart.y.title:
        axes.set_ylabel(chart.y.title)
    if chart.x.log:
        from matplotlib.ticker import LogLocator, NullFormatter

        axes.set_xscale("log")
        # matplotlib's own labels of such an axis are formulas, which are not read as such here
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif chart.x.zero and chart.kind != "intervals":
        # the margin is a fraction of the axis, not of the distance between points
        axes.set_xlim(0, 1.05 * axes.dataLim.x1)
    if chart.y.zero:
        axes.set_ylim(bottom=0)


def _key(figure: Any, axes: Axes, chart: Chart) -> None:
    """The legend, below the chart. Charts whose rows have names need none."""
    if chart.kind == "intervals":
        return
    handles, labels = axes.get_legend_handles_labels()
    columns = min(len(labels), 5 if chart.wide else 3)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


def _filled(style: Style) -> dict[str, Any]:
    return {"color": _colour(style), "hatch": _HATCHES[style.pattern], "edgecolor": "white" if style.pattern else _INK,
            "linewidth": 0.4}  # fmt: skip


def _size(style: Style, points: float) -> float:
    """A star of the same size looks smaller."""
    return points * 1.5 if style.marker == "star" else points


def _colour(style: Style) -> str:
    return _INK if style.colour == INK else style.colour
