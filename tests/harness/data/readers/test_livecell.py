"""LIVECell's folder: the published split in one source, its subsets, and an image in two files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from example_sources import livecell

from harness.data.registry import open_source, published_parts
from harness.data.sources import load
from harness.errors import HarnessError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    livecell(tmp_path)
    return tmp_path


def file_of(folder: Path, part: str) -> Path:
    return folder / "annotations" / "LIVECell" / f"livecell_coco_{part}.json"


def test_the_published_split_has_val_for_calibration_and_test_for_validation(folder: Path) -> None:
    parts = published_parts(f"livecell:{folder}")
    assert parts == {
        "train": f"livecell:{folder},train",
        "calibration": f"livecell:{folder},val",
        "validation": f"livecell:{folder},test",
    }
    assert [load(source).ids for source in parts.values()] == [("a",), ("b",), ("c",)]
    assert published_parts(f"livecell:{folder},train") == {}
    assert load(f"livecell:{folder}").ids == ("a", "b", "c")


def test_single_types_and_smaller_training_sets_are_found(folder: Path) -> None:
    types = folder / "annotations" / "LIVECell_single_cells" / "bv2"
    sizes = folder / "annotations" / "LIVECell_dataset_size_split"
    for place in (types, sizes):
        place.mkdir(parents=True)
    for part in ("train", "val", "test"):
        shutil.copy(file_of(folder, part), types / f"{part}.json")
    shutil.copy(file_of(folder, "val"), sizes / "2_train5percent.json")
    shutil.copy(file_of(folder, "train"), sizes / "3_train25percent.json")
    assert load(f"livecell:{folder},bv2,test").ids == ("c",)
    assert load(f"livecell:{folder},5%,train").ids == ("b",)
    assert load(f"livecell:{folder},25%,train").ids == ("a",)
    assert load(f"livecell:{folder},5%,test").ids == ("c",)


def test_an_image_in_two_files_is_refused(folder: Path) -> None:
    shutil.copy(file_of(folder, "train"), file_of(folder, "test"))
    with pytest.raises(HarnessError, match=r"the image a\.png is in two files of annotations"):
        load(f"livecell:{folder}")


def test_what_is_missing_or_mistyped_is_said(folder: Path) -> None:
    with pytest.raises(HarnessError, match=r"no subset 'bv3'.*'bv2'"):
        open_source(f"livecell:{folder},bv3")
    with pytest.raises(HarnessError, match="no file with the annotations of bv2 train below"):
        open_source(f"livecell:{folder},bv2")


def test_files_may_lie_side_by_side(folder: Path) -> None:
    for part in ("train", "val", "test"):
        shutil.move(file_of(folder, part), folder / f"livecell_coco_{part}.json")
    assert load(f"livecell:{folder},val").ids == ("b",)
    assert json.loads((folder / "livecell_coco_val.json").read_text("utf-8"))["images"][0]["file_name"] == "b.png"
