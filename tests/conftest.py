"""Shared by all tests: where real images are, if they are here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that holds `sartorius/` and `dsb2018/`; skips where there is none."""
    folder = Path(os.environ.get("HARNESS_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "sartorius" / "train.csv").is_file():
        pytest.skip(f"no real images at {folder}; HARNESS_DATA names the folder that holds sartorius/ and dsb2018/")
    return folder
