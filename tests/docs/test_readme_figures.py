"""The README's first look is what docs/readme_figures.py makes of the run that is kept in results/."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from fake_run import METHODS, write_run
from PIL import Image

from harness.reporting.leaderboard import leaderboard_of_runs

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme_figures", ROOT / "docs" / "readme_figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_says_what_the_kept_run_says(script: ModuleType) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    written = readme.partition(script.BEGIN)[2].partition(script.END)[0].strip()
    assert written == script.block(leaderboard_of_runs([ROOT / "results" / "synthetic"]))
    images = re.findall(r"docs/images/[\w-]+\.png", written)
    assert len(images) == 3
    assert all((ROOT / image).is_file() for image in images)


def test_a_run_with_predictions_makes_strip_charts_and_table(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = write_run(tmp_path / "run", METHODS[:4], seeds=1)
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "IMAGES", tmp_path / "docs" / "images")
    (tmp_path / "README.md").write_text(f"above\n{script.BEGIN}\nold\n{script.END}\nbelow\n")
    script.main(run_dir)
    text = (tmp_path / "README.md").read_text("utf-8")
    assert text.startswith("above\n")
    assert text.endswith("\nbelow\n")
    assert "\nold\n" not in text
    board = leaderboard_of_runs([run_dir])
    assert [f"| {row.method} |" in text for row in board.ranked] == [True] * 4
    assert "**Which when:**" in text
    assert "pointsup" not in text
    with Image.open(tmp_path / "docs" / "images" / "strip.png") as strip:
        assert strip.size == (5 * script.SIDE + 4 * script.GAP, script.SIDE + script.CAPTION)
    assert {path.name for path in (tmp_path / "docs" / "images").iterdir()} == {script.STRIP, *script.CHARTS.values()}
