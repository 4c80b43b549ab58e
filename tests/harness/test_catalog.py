"""Finding methods: in the package, by entry point, by file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import harness.catalog as catalog_module
import methods
from harness.catalog import load_catalog
from harness.errors import HarnessError

ADAPTER = """
from harness.contract import Card, Method, Part

METHOD = Method(
    "{name}",
    Card("A title", "A paper", 2021, "A venue", "changes a thing"),
    {{"augment": Part("none", f"{{__name__}}:build")}},
)
REQUIREMENTS = {{"a_package": "pip install a-package"}}


def build(task, strength=1.0):
    return ()
"""


@pytest.fixture
def methods_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A second folder of the `methods` package, to which tests add files. Its modules are unloaded afterwards."""
    folder = tmp_path / "more"
    folder.mkdir()
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(folder)])
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if name.startswith("methods."):
            sys.modules.pop(name)


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file outside the package. The search path is restored afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    path = tmp_path / "strangers_file.py"
    path.write_text(ADAPTER.format(name="strange"))
    yield path
    sys.modules.pop("strangers_file", None)


def test_the_baseline_is_found() -> None:
    catalog = load_catalog()
    assert catalog.baseline.name == "mask_rcnn"
    assert "mask_rcnn" in catalog.defaults()
    assert "mask_rcnn_r101" not in catalog.defaults()
    assert not catalog.broken


def test_a_new_file_in_the_package_is_a_method(methods_folder: Path) -> None:
    (methods_folder / "brand_new.py").write_text(ADAPTER.format(name="brand_new"))
    (methods_folder / "_private.py").write_text("raise RuntimeError('must not be imported')")
    catalog = load_catalog()
    assert "brand_new" in catalog.defaults()
    assert catalog.requirements["a_package"] == "pip install a-package"
    assert not catalog.broken


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import no_such_package_at_all", "No module named"),
        ("1 / 0", "ZeroDivisionError"),
        ("X = 1", "neither METHOD"),
        ("METHOD = 'text'", "str"),
        ("def f(:", "SyntaxError"),
    ],
)
def test_a_broken_file_is_listed_with_its_error_and_harms_no_other(methods_folder: Path, text: str, why: str) -> None:
    (methods_folder / "shattered.py").write_text(text)
    catalog = load_catalog()
    assert "mask_rcnn" in catalog.entries
    (broken,) = catalog.broken
    assert broken.origin.endswith("shattered.py")
    assert why in broken.error
    with pytest.raises(HarnessError, match=r"shattered\.py"):
        catalog.method("shattered")


def test_there_is_one_baseline(methods_folder: Path) -> None:
    method = ADAPTER.format(name="rival").replace('build")},', 'build")}, baseline=True,')
    (methods_folder / "rival.py").write_text(method)
    with pytest.raises(HarnessError, match=r"one method must say baseline=True.*mask_rcnn, rival"):
        _ = load_catalog().baseline


def test_a_name_in_two_files_names_both(methods_folder: Path) -> None:
    (methods_folder / "imitator.py").write_text(ADAPTER.format(name="mask_rcnn"))
    with pytest.raises(HarnessError, match=r"mask_rcnn.__init__\.py and .*imitator\.py"):
        load_catalog()


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(HarnessError, match="did you mean 'mask_rcnn'"):
        load_catalog().method("mask_rccn")


def test_a_family_gives_methods_by_prefix(methods_folder: Path) -> None:
    text = ADAPTER.format(name="unused") + "\nfrom dataclasses import replace\nBASE = METHOD\ndel METHOD\n"
    text += "FAMILIES = {'fam': lambda name: replace(BASE, name='fam:' + name)}\n"
    (methods_folder / "family.py").write_text(text)
    catalog = load_catalog()
    assert catalog.method("fam:resnet18.a1_in1k").name == "fam:resnet18.a1_in1k"
    assert catalog.origin("fam:x").endswith("family.py")


def test_a_file_given_by_path(adapter: Path) -> None:
    catalog = load_catalog([adapter])
    assert catalog.method("strange").parts["augment"].build(None) == ()
    assert catalog.origin("strange") == str(adapter)


def test_a_part_of_a_file_given_by_path_is_found_by_a_process_started_from_here(adapter: Path) -> None:
    part = load_catalog([adapter]).method("strange").parts["augment"]
    code = f"from harness.contract import Part; print(Part('x', {part.factory!r}).build(None))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "()"


def test_a_folder_of_the_same_name_does_not_hide_a_file(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work" / adapter.stem).mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "work"))
    assert load_catalog([adapter]).method("strange").parts["augment"].build(None) == ()


def test_a_path_that_is_no_adapter(tmp_path: Path, adapter: Path) -> None:
    with pytest.raises(HarnessError, match="no adapter file"):
        load_catalog([tmp_path / "absent.py"])
    wrong = tmp_path / "not-a-name.py"
    wrong.write_text("")
    with pytest.raises(HarnessError, match="can be imported"):
        load_catalog([wrong])
    shadow = tmp_path / "json.py"
    shadow.write_text(ADAPTER.format(name="shadow"))
    with pytest.raises(HarnessError, match="rename"):
        load_catalog([shadow])
    adapter.write_text("1 / 0")
    with pytest.raises(HarnessError, match="ZeroDivisionError"):
        load_catalog([adapter])


def test_an_installed_package_adds_methods_by_entry_point(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = adapter.parent
    facts = site / "strangers_package-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers-package\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[{catalog_module.GROUP}]\nstrange = strangers_file\n")
    monkeypatch.syspath_prepend(str(site))
    catalog = load_catalog()
    assert "strange" in catalog.defaults()
    assert "strangers_file" in catalog.origin("strange")
