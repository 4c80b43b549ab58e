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

ROW_PIXELS = 34
HEIGHT = 380
_MARKS = 10
"""Markers on a line: enough to tell it by, few enough to see it."""


def plotly_chart(chart: Chart, styles: Mapping[str, Style]) -> dict[str, Any]:
    """data, layout; methods: for each trace of data the method it shows, or None."""
    draw = {"points": _points, "lines": _lines, "intervals": _intervals, "bars": _bars, "stack": _stack}[chart.kind]
    traces: list[tuple[str | None, dict[str, Any]]] = draw(chart, styles)
    if chart.kind == "points":
        traces.insert(0, (None, _front(chart)))
    return {
        "data": [trace for _, trace in traces],
        "methods": [method for method, _ in traces],
        "layout": _layout(chart),
    }


def colour(style: Style) -> str:
    return "var(--ink)" if style.colour == INK else style.colour


def _points(chart: Chart, styles: Mapping[str, Style]) -> list[tuple[str | None, dict[str, Any]]]:
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
                "textposition": _position(chart, series),
                "hovertemplate": f"<b>{_text(series.method)}</b><br>%{{x:.4g}}<br>IoU %{{y:.4f}}<extra></extra>",
                "cliponaxis": False,
            },
        )
        for series in chart.series
    ]


def _position(chart: Chart, series: Series) -> str:
    """A name stands on the side where there is room, and off the front, which comes from the left."""
    costs = [float(s.x[0]) for s in chart.series]
    middle = math.sqrt(min(costs) * max(costs)) if chart.x.log else max(costs) / 2
    return "top left" if float(series.x[0]) > middle else "bottom right"


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
