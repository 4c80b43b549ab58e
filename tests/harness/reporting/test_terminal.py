"""The table on a terminal: names and numbers are not cut, at any width."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from harness.reporting import terminal
from harness.reporting.columns import columns
from harness.reporting.leaderboard import Leaderboard, leaderboard
from harness.results.schema import RunRecord

Make = Callable[..., RunRecord]
LONG = 'copy_paste(min_scale=1.0,max_scale=1.0,within_type=false,occlusion="absolute")'


@pytest.fixture
def board(make: Make) -> Leaderboard:
    extra = {"seconds_per_iteration": 0.7, "inference_ms_per_image": 30.0, "f1_50": 0.8, "count_error": 0.1}
    failed = make("too_big", status="oom", reason="no memory at step 3", scores=None, rule=None)
    methods = [make(m, quality=q, **extra) for m, q in (("mask_rcnn", 0.4), ("torchvision_starter_v2", 0.6))]
    return leaderboard([*methods, failed])


def printed(monkeypatch: pytest.MonkeyPatch, board: Leaderboard, width: int, wide: bool = False) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None, highlight=False)
    monkeypatch.setattr(terminal, "console_of_width", lambda: console)
    terminal.print_leaderboard(board, wide)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120, 160, 200])
def test_names_and_iou_are_whole_and_no_line_is_longer_than_the_screen(
    monkeypatch: pytest.MonkeyPatch, board: Leaderboard, width: int
) -> None:
    lines = printed(monkeypatch, board, width)
    assert all(len(line) <= width for line in lines)
    for row in board.ranked:
        [line] = [line for line in lines if f" {row.method} " in line and f"{row.quality.iou:.4f}" in line]
        assert line.split()[0] == str(row.position)
    assert any("too_big: oom: no memory at step 3" in line for line in lines)


def test_more_columns_come_with_more_room_and_the_rest_are_named(
    monkeypatch: pytest.MonkeyPatch, board: Leaderboard
) -> None:
    names = {column.name for column in columns(board)}
    shown = []
    for width in (80, 120, 160, 400):
        text = "\n".join(printed(monkeypatch, board, width))
        head, _, below = text.partition("Budget 75s")
        here = {name for name in names if name in head.split("\u2500")[0]}
        assert {"#", "method", "IoU", "vs baseline", "worth it", "steps"} <= here, width
        named = below.partition("More with --wide: ")[2].replace("\n", " ")
        assert all(name in named for name in names - here)
        shown.append(len(here))
    assert shown == sorted(shown)
    assert shown[0] < shown[1] < shown[-1] == len(names)


def test_wide_has_every_column_in_as_many_tables_as_it_takes(
    monkeypatch: pytest.MonkeyPatch, board: Leaderboard
) -> None:
    lines = printed(monkeypatch, board, 80, wide=True)
    assert all(len(line) <= 80 for line in lines)
    text = "\n".join(lines)
    assert all(column.name in text for column in columns(board))
    assert "More with --wide" not in text


def test_a_name_longer_than_the_screen_goes_on_in_the_next_line(monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    lines = printed(monkeypatch, leaderboard([make(), make(LONG)]), 80)
    head = next(line for line in lines if "method" in line)
    start, end = head.index("method"), head.index("IoU") - 3
    table = lines[: next(i for i, line in enumerate(lines) if line.startswith("Budget"))]
    assert LONG in "".join(line[start:end].strip() for line in table)
