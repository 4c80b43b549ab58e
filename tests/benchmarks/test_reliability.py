"""The long form of the reliability tests runs every test that reports figures for its page."""

from __future__ import annotations

import re
from pathlib import Path

from reliability import TESTS

ROOT = Path(__file__).parents[2]


def test_every_test_that_reports_figures_is_run() -> None:
    missing = [name for name in TESTS if not (ROOT / name).exists()]
    assert not missing
    reporting = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests" / "harness").rglob("test_*.py")
        if re.search(r"^    figures\(", path.read_text("utf-8"), re.MULTILINE)
    ]
    assert len(reporting) > 10
    assert [path for path in reporting if not path.startswith(TESTS)] == []
