"""A method of a user, in a file outside the repository."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import harness


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file stranger.py, as `new-method` writes it. Neither it nor its folder is known after the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    made = CliRunner().invoke(harness, ["new-method", "stranger", "--slot", "engine", "--dir", str(tmp_path)])
    assert made.exit_code == 0
    yield tmp_path / "stranger.py"
    sys.modules.pop("stranger", None)
