"""The figures of a benchmark, in the form that speed.py makes its table of.

A benchmark sets `benchmark.extra_info["rows"] = [row(...), ...]`. A row that is compared with a peer has the peer's
figure and a ratio, above 1 where ours is better. A row without a peer may have a target, the greatest figure allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def row(
    work: str,
    ours: float,
    unit: str,
    target: float | None = None,
    peer: float | None = None,
    *,
    more_is_better: bool = False,
    note: str = "",
) -> dict[str, Any]:
    """One line of the table, as JSON values. ours, peer: in `unit`. target: least ratio, or most without a peer."""
    ratio = None if peer is None else ours / peer if more_is_better else peer / ours
    return {"work": work, "ours": ours, "peer": peer, "unit": unit, "ratio": ratio, "target": target, "note": note}


def met(row: dict[str, Any]) -> bool | None:
    """Whether a row's target is met; None where it has none."""
    if row["target"] is None:
        return None
    return bool(row["ours"] <= row["target"] if row["ratio"] is None else row["ratio"] >= row["target"])


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as text for the screen, a line each."""
    lines = [""]
    for one in rows:
        peer = "" if one["peer"] is None else f", peer {number(one['peer'])}: ratio {number(one['ratio'])}"
        target = "" if one["target"] is None else f" (target {number(one['target'])})"
        note = f"; {one['note']}" if one["note"] else ""
        lines.append(f"{one['work']}: {number(one['ours'])} {one['unit']}{peer}{target}{note}")
    return "\n".join(lines)


def number(value: float) -> str:
    """Three significant digits, without an exponent; 0 as it is."""
    if value == 0:
        return "0"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}" if abs(value) >= 1e-3 else f"{value:.2e}"
    return text.removesuffix(".")
