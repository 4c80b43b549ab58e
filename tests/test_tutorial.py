"""Follows the tutorial exactly: writes its files, runs its commands, and checks for its row."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(900)  # one fixture trains for all

ROOT = Path(__file__).parents[1]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)```", TUTORIAL, re.DOTALL | re.MULTILINE))
INSTALLATION, *BLOCKS = re.findall(r"```sh\n(.*?)```", TUTORIAL, re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines()]

HERE = {
    "PIP_CONFIG_FILE": "/dev/null",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it as the option's value: 0 is --no-build-isolation
    "PIP_NO_DEPS": "1",
    "PIP_NO_INDEX": "1",
}
"""Without a network, and not into the environment of the person who runs the tests."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder, outside the repository, with the tutorial's files in it."""
    folder = tmp_path_factory.mktemp("desk")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def here(desk: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the reader's virtual environment is here: a folder that pip installs into and Python looks in."""
    site = str(tmp_path_factory.mktemp("site"))
    return {**HERE, "PIP_TARGET": site, "PYTHONPATH": site}


@pytest.fixture(scope="module")
def said(typed: Callable[..., str], desk: Path, here: dict[str, str]) -> dict[str, str]:
    """Every command after the installation, as it is written and in that order, to what it printed."""
    pytest.importorskip("pip", reason="this environment has no pip")
    return {line: typed(line, desk, **here) for line in LINES}


def test_the_installation_is_the_one_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = INSTALLATION.splitlines()
    assert len(lines) == 4
    assert " && ".join(lines[2:]) in readme


@pytest.mark.slow
def test_the_method_is_installed_and_keeps_the_contract(said: dict[str, str], here: dict[str, str]) -> None:
    assert "watershed_cells.py" in said["python -m harness methods watershed --adapter watershed_cells.py"]
    assert "entry point watershed = watershed_cells" in said["python -m harness methods watershed"]
    checked = said["python -m harness check-method watershed --adapter watershed_cells.py"]
    assert checked.endswith("keeps the contract\n")
    skipped = [line for line in checked.splitlines() if line.split()[:1] == ["skip"]]
    assert [line.partition("(")[2] for line in skipped] == ["it learns from labelled images alone)"]
    assert Path(here["PIP_TARGET"], "watershed_cells.py").is_file()
    assert not list(metadata.distributions(name="watershed-cells")), "it must not be in the environment of the tests"


@pytest.mark.slow
def test_its_row_is_beside_the_baselines(said: dict[str, str], desk: Path) -> None:
    with (desk / "first" / "leaderboard.csv").open(encoding="utf-8") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"mask_rcnn", "watershed"}
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert rows["watershed"]["slots"] == "engine"
    assert 0.02 < float(rows["watershed"]["iou"]) < 1
    assert 0 <= float(rows["mask_rcnn"]["iou"]) < 1
    assert rows["mask_rcnn"]["parameters"] != rows["watershed"]["parameters"]
    first, second = (text for line, text in said.items() if line.startswith("python -m harness run"))
    assert "watershed" in second
    assert "watershed" not in first
    assert "watershed" in (desk / "first" / "leaderboard.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_baseline_was_trained_once(said: dict[str, str], desk: Path) -> None:
    record = desk / "first" / "trials" / "mask_rcnn--seed0" / "record.json"
    watershed = desk / "first" / "trials" / "watershed--seed0" / "trial.json"
    assert record.stat().st_mtime < watershed.stat().st_mtime


@pytest.mark.slow
def test_the_report_shows_it(said: dict[str, str], desk: Path) -> None:
    page = (desk / "first" / "report.html").read_text(encoding="utf-8")
    assert "watershed" in page
    assert "mask_rcnn" in page


@pytest.mark.slow
def test_copy_paste_can_be_stacked_on_it(
    said: dict[str, str], typed: Callable[..., str], desk: Path, here: dict[str, str]
) -> None:
    assert "watershed+copy_paste" in TUTORIAL
    plan = typed("python -m harness run --methods watershed+copy_paste --dry-run", desk, **here)
    assert "watershed+copy_paste" in plan
