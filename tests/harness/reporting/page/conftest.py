"""One fake run for all tests of the page, and a browser that shows it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1366,900",
)


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven methods and two seeds: one hostile name, one out-of-memory, one other budget. Tests must not change it."""
    from fake_run import HOSTILE, METHODS, FakeMethod, write_run

    hostile = FakeMethod(HOSTILE, 0.55, 90, 2.4, 130, method="geometric")
    return write_run(tmp_path_factory.mktemp("drawn") / "run", [*METHODS, hostile], seeds=2)


@pytest.fixture
def own_run(run_dir: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(run_dir, tmp_path / "run"))


@pytest.fixture(scope="session")
def report(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of that run, as the command line writes it."""
    from click.testing import CliRunner

    from harness.cli import harness

    out = tmp_path_factory.mktemp("page") / "report.html"
    result = CliRunner().invoke(harness, ["report", str(run_dir), "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="session")
def start_browser(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    """Starts Chromium without a window, which keeps a log of every request; skips where it is not installed."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
    from selenium.webdriver.chrome.service import Service

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver")

    def start() -> Any:
        options = selenium.ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        return selenium.Chrome(options=options, service=Service(driver))

    return start


@pytest.fixture(scope="module")
def browser(start_browser: Callable[[], Any]) -> Iterator[Any]:
    started = start_browser()
    yield started
    started.quit()
