"""Data sources are found in the package, by entry point, and in a user's file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from example_sources import NAMES, scene

from harness.catalog import load_catalog
from harness.cli import harness
from harness.data import registry
from harness.data.conformance import CHECKS
from harness.data.registry import add_adapters, find_sources, open_source
from harness.data.sources import load
from harness.errors import HarnessError

PAGE = Path(__file__).parents[3] / "docs" / "adding-a-data-source.md"


@pytest.fixture
def file_of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The one file of docs/adding-a-data-source.md, outside the repository; what it changes is put back."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv(registry.ADAPTERS, "")
    path = tmp_path / "strangers" / "npz_cells.py"
    path.parent.mkdir()
    path.write_text(re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)[0])
    yield path
    sys.modules.pop("npz_cells", None)


@pytest.fixture
def installed(file_of_a_user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file as a package that names it by entry point."""
    facts = file_of_a_user.parent / "npz_cells-0.1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: npz-cells\nVersion: 0.1\n")
    (facts / "entry_points.txt").write_text(f"[{registry.GROUP}]\nnpz = npz_cells\n")
    monkeypatch.syspath_prepend(str(file_of_a_user.parent))


@pytest.fixture
def cells(tmp_path: Path) -> str:
    (tmp_path / "cells").mkdir()
    for number, name in enumerate(NAMES):
        image, labels = scene(number)
        np.savez(tmp_path / "cells" / f"{name}.npz", image=image, labels=labels)
    return f"npz:{tmp_path / 'cells'}"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_package_adds_a_source_that_inherits_the_checks(
    installed: None, cells: str, check: Callable[[str], None]
) -> None:
    check(cells)


def test_a_source_of_a_package_is_read(installed: None, cells: str) -> None:
    dataset = load(cells)
    assert (dataset.ids, dataset.cells) == (NAMES, 6)
    assert np.array_equal(dataset[1].image, scene(1)[0])
    result = CliRunner().invoke(harness, ["data", "check", cells])
    assert result.output == "nothing wrong: 3 images, 6 cells\n"
    assert "one .npz file for each image" in CliRunner().invoke(harness, ["data", "--help"]).output


def test_a_file_given_by_path_adds_a_source(file_of_a_user: Path, cells: str) -> None:
    with pytest.raises(HarnessError, match="unknown data source"):
        load(cells)
    result = CliRunner().invoke(harness, ["data", "check", cells, "--adapter", str(file_of_a_user)])
    assert result.output == "nothing wrong: 3 images, 6 cells\n"
    assert load_catalog([file_of_a_user]).entries  # a file without a method is no error


def test_a_file_given_by_path_is_known_to_processes_started_from_here(file_of_a_user: Path, cells: str) -> None:
    add_adapters([file_of_a_user])
    add_adapters([file_of_a_user])
    assert os.environ[registry.ADAPTERS] == "npz_cells"
    code = f"from harness.data.sources import load; print(load({cells!r}).cells)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "6\n"


def test_an_unknown_kind_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="did you mean 'sartorius'"):
        open_source("sartorious:x")
    with pytest.raises(HarnessError, match="a folder and names no kind of data; it looks like no kind that is known"):
        open_source(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import no_such_package_at_all", "No module named"),
        ("1 / 0", "ZeroDivisionError"),
        ("X = 1", "holds no harness.data.DataSource"),
        ("SOURCE = 'text'", "holds no harness.data.DataSource"),
        ("def f(:", "SyntaxError"),
    ],
)
def test_a_broken_package_is_named_and_harms_no_other(
    installed: None, file_of_a_user: Path, text: str, why: str
) -> None:
    file_of_a_user.write_text(text)
    sources, broken = find_sources()
    assert "coco" in sources
    assert why in broken[0].error
    with pytest.raises(HarnessError, match="npz_cells") as caught:
        open_source("npz:x")
    assert str(caught.value).isprintable()


def test_a_name_in_two_modules_names_both(installed: None, file_of_a_user: Path) -> None:
    file_of_a_user.write_text(file_of_a_user.read_text("utf-8").replace('name="npz"', 'name="coco"'))
    with pytest.raises(HarnessError, match=r"harness\.data\.readers\.coco and in entry point npz"):
        find_sources()
