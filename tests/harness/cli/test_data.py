from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from data_files import kaggle_row, write_kaggle

from harness.cli import harness


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path_factory.mktemp("cache")))


def typed(*words: str) -> Result:
    return CliRunner().invoke(harness, ["data", *words])


def test_a_good_source_passes() -> None:
    result = typed("check", "synthetic:images=3,size=64")
    assert result.exit_code == 0
    assert result.output.startswith("nothing wrong: 3 images, ")


def test_all_that_is_wrong_is_listed_and_the_status_says_so(tmp_path: Path) -> None:
    source = write_kaggle(tmp_path, [kaggle_row("a", t) for t in ("1 2", "1", "x", "9 9 1 1")])
    result = typed("check", source)
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert [line.split(" (")[0] for line in lines[:3]] == [f"train.csv row {row}" for row in (3, 4, 5)]
    assert lines[3] == "what could be read: 1 images, 1 cells"
    found = json.loads(typed("check", "--json", source).output)
    assert (found["ok"], len(found["problems"]), found["cells"]) == (False, 3, 1)
    assert "only the first 2 are listed" in typed("check", "--limit", "2", source).output


def test_figures_as_table_and_as_json(tmp_path: Path) -> None:
    source = write_kaggle(tmp_path, [kaggle_row("a", "1 2"), kaggle_row("a", "30 2 42 2")])
    table = typed("stats", source)
    assert table.exit_code == 0
    assert "2 / 2 / 2" in table.output
    figures = json.loads(typed("stats", "--json", source).output)
    assert figures["by_class"]["cort"]["area"]["max"] == 4
    assert typed("stats", "--skip-bad", source).output == table.output


@pytest.mark.parametrize("verb", ["check", "stats"])
def test_a_mistyped_source_is_one_line(verb: str) -> None:
    result = typed(verb, "sartorius:/no/such/place")
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert "there is no '/no/such/place'" in result.output
