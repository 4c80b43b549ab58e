"""Shared by all tests: a cache of their own, and where real images are, if they are here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the cache of the person who runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that holds `sartorius/` and `dsb2018/`; skips where there is none."""
    folder = Path(os.environ.get("HARNESS_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "sartorius" / "train.csv").is_file():
        pytest.skip(f"no real images at {folder}; HARNESS_DATA names the folder that holds sartorius/ and dsb2018/")
    return folder
