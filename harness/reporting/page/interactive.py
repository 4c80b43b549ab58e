"""Charts for plotly.js: plain values, to be written into the page as JSON.

Colours that go with light and dark are names of the page's style sheet, `var(--ink)` for one; the page's script puts
the colours themselves in their place. Text from data is escaped once more, since plotly reads some HTML in it.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from harness.reporting.page.charts import INK, Axis, Chart, Series, Style
from harness.reporting.page.labels import label_positions

ROW_PIXELS = 34
HEIGHT = 380
PANEL_HEIGHT = 170
_MARKS = 10
"""Number of markers on a line."""


def plotly_charts(chart: Chart, styles: Mapping[str, Style]) -> dict[str, dict[str, Any]]:
    """The drawings of a chart by their key: one under its slug, or one a method under its panel's key.

    Each has data, layout, and methods: for each trace of data the method it shows, or None.
    """
    if chart.kind == "panels":
        return {panel_key(chart, method): _panel(chart, method, styles) for method in chart.methods}
    draw = {"points": _points, "lines": _lines, "intervals": _intervals, "bars": _bars, "stack": _stack}[chart.kind]
    traces: list[tuple[str | None, dict[str, Any]]] = draw(chart, styles)
    if chart.kind == "points":
        traces.insert(0, (None, _front(chart)))
    return {chart.slug: _drawing(chart, traces)}


def panel_key(chart: Chart, method: str) -> str:
    """What the drawing of one method's panel goes by."""
    return f"{chart.slug}/{chart.methods.index(method)}"


def _drawing(chart: Chart, traces: Sequence[tuple[str | None, dict[str, Any]]]) -> dict[str, Any]:
    return {
        "data": [trace for _, trace in traces],
        "methods": [method for method, _ in traces],
        "layout": _layout(chart),
    }


def _panel(chart: Chart, method: str, styles: Mapping[str, Style]) -> dict[str, Any]:
    """One method's line. Behind it, thin, is the line of the first method, which is the baseline."""
    first = min(chart.methods, key=list(styles).index)
    lines = dict(_lines(chart, styles))
    behind = {**lines[first], "mode": "lines", "line": {"color": "var(--muted)", "width": 1}, "hoverinfo": "skip"}
    behind.pop("hovertemplate")
    own = {**lines[method], "mode": "lines", "line": {"color": colour(styles[method]), "width": 2}}
    drawing = _drawing(chart, [(None, behind), (method, own)] if method != first else [(method, own)])
    values = [v for series in chart.series for v in _finite(series.y) if v is not None]
    ends = [float(x) for series in chart.series for x in series.x]
    low, high = min(values, default=0.0), max(values, default=1.0)
    layout = drawing["layout"]
    layout["xaxis"] |= {"range": [0, max(ends)], "nticks": 4, "title": {"text": ""}}
    layout["yaxis"] |= {"range": [low - 0.05 * (high - low), high + 0.05 * (high - low)], "nticks": 5}
    layout["yaxis"]["title"] = {"text": ""}
    return {**drawing, "layout": {**layout, "height": PANEL_HEIGHT}}


def colour(style: Style) -> str:
    return "var(--ink)" if style.colour == INK else style.colour


def _points(chart: Chart, styles: Mapping[str, Style]) -> list[tuple[str | None, dict[str, Any]]]:
    positions = label_positions(chart)
    return [
        (
            series.method,
            {
                "type": "scatter",
                "mode": "markers+text",
                "x": _finite(series.x),
                "y": _finite(series.y),
                "error_y": _error(series, series.y, styles[series.method]),
                "marker": _marker(styles[series.method], 14 if series.method in chart.front else 11),
                "text": [_text(series.method) if series.method in chart.front else ""],
                "textposition": positions.get(series.method, "top center"),
                "hovertemplate": f"<b>{_text(series.method)}</b><br>%{{x:.4g}}<br>IoU %{{y:.4f}}<extra></extra>",
                "cliponaxis": False,
            },
        )
        for series in chart.series
    ]


def _front(chart: Chart) -> dict[str, Any]:
    points = chart.front_points()
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        # what is known between two methods of the front is that the cheaper one can be had
        "line": {"shape": "hv", "dash": "dash", "width": 1.5, "color": "var(--muted)"},
        "hoverinfo": "skip",
    }


def _lines(chart: Chart, styles: Mapping[str, Style]) -> list[tuple[str | None, dict[str, Any]]]:
    return [
        (
            series.method,
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": _finite(series.x),
                "y": _finite(series.y),
                "line": {"color": colour(styles[series.method]), "dash": styles[series.method].dash, "width": 2},
                "marker": {**_marker(styles[series.method], 8), "maxdisplayed": _MARKS},
                "hovertemplate": f"<b>{_text(series.method)}</b><br>%{{x:.4g}}<br>%{{y:.4f}}<extra></extra>",
            },
        )
        for series in chart.series
    ]


def _intervals(chart: Chart, styles: Mapping[str, Style]) -> list[tuple[str | None, dict[str, Any]]]:
    return [
        (
            series.method,
            {
                "type": "scatter",
                "mode": "markers",
                "x": _finite(series.x),
                "y": [_text(series.method)],
                "error_x": _error(series, series.x, styles[series.method]),
                "marker": _marker(styles[series.method], 11),
                "customdata": [[series.low[0], series.high[0]]],
                "hovertemplate": "%{x:.4f}<br>%{customdata[0]:.4f} to %{customdata[1]:.4f}<extra></extra>",
            },
        )
        for series in chart.series
    ]


def _bars(chart: Chart, styles: Mapping[str, Style]) -> list[tuple[str | None, dict[str, Any]]]:
    return [
        (
            series.method,
            {
                "type": "bar",
                "x": [_text(str(x)) for x in series.x],
                "y": _finite(series.y),
                "marker": _filled(styles[series.method]),
                "hovertemplate": f"<b>{_text(series.method)}</b><br>%{{x}}<br>%{{y:.4f}}<extra></extra>",
            },
        )
        for series in chart.series
    ]


def _stack(chart: Chart, styles: Mapping[str, Style]) -> list[tuple[str | None, dict[str, Any]]]:
    parts = {part.name: part for part in chart.parts}
    return [
        (
            series.method,
            {
                "type": "bar",
                "orientation": "h",
                "x": _finite(series.x),
                "y": [_text(series.method)],
                "marker": _filled(parts[series.part].style),
                "hovertemplate": f"{parts[series.part].title}: %{{x:.1f}}<extra></extra>",
            },
        )
        for series in chart.series
    ]


def _layout(chart: Chart) -> dict[str, Any]:
    x, y = _axis(chart.x), _axis(chart.y)
    height = HEIGHT
    layout: dict[str, Any] = {"margin": {"l": 10, "r": 16, "t": 12, "b": 10}}
    if chart.kind in ("intervals", "stack"):
        names = [_text(method) for method in reversed(chart.methods)]
        # categories of our own in our order: plotly would take a name such as 2021-10 for a date
        y |= {"type": "category", "categoryorder": "array", "categoryarray": names, "showgrid": False}
        height = 90 + ROW_PIXELS * len(names)
    if chart.kind == "bars":
        x |= {"type": "category", "showgrid": False}
        layout["bargap"] = 0.15
    if chart.kind == "stack":
        layout |= {"barmode": "stack", "bargap": 0.3}
    return {
        **layout,
        "xaxis": x,
        "yaxis": y,
        "height": height,
        "showlegend": False,
        "dragmode": False,
        "hovermode": "closest",
        "font": {"family": "system-ui, sans-serif", "size": 14, "color": "var(--ink)"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hoverlabel": {
            "bgcolor": "var(--paper)",
            "bordercolor": "var(--ink)",
            "font": {"color": "var(--ink)", "size": 14},
        },
    }


def _axis(axis: Axis) -> dict[str, Any]:
    lines = {"gridcolor": "var(--grid)", "linecolor": "var(--muted)", "zerolinecolor": "var(--muted)"}
    title = {"title": {"text": _text(axis.title), "font": {"size": 14}}} if axis.title else {}
    plain: dict[str, Any] = {**lines, **title, "automargin": True, "fixedrange": True}
    if axis.log:
        return {**plain, "type": "log", "dtick": "D2"}
    return {**plain, "rangemode": "tozero", "zeroline": True} if axis.zero else {**plain, "zeroline": False}


def _marker(style: Style, size: int) -> dict[str, Any]:
    return {
        "symbol": style.marker,
        "size": size,
        "color": colour(style),
        "line": {"color": "var(--ink)", "width": 1 if size < 14 else 2.5},
    }


def _filled(style: Style) -> dict[str, Any]:
    return {
        "color": colour(style),
        "line": {"color": "var(--ink)", "width": 0.7},
        "pattern": {
            "shape": style.pattern,
            "bgcolor": colour(style),
            "fgcolor": "var(--paper)",
            "size": 7,
            "solidity": 0.3,
        },
    }


def _error(series: Series, value: Sequence[Any], style: Style) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - v for high, v in zip(series.high, value, strict=True)],
        "arrayminus": [v - low for low, v in zip(series.low, value, strict=True)],
        "color": colour(style),
        "thickness": 1.5,
        "width": 5,
    }


def _finite(values: Sequence[Any]) -> list[float | None]:
    """JSON has no NaN; plotly leaves a gap at null."""
    return [value if math.isfinite(value) else None for value in values]


def _text(text: str) -> str:
    """As it is, where plotly reads HTML and `%{...}`."""
    return html.escape(text).replace("%{", "%&#123;")
