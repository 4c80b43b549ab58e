from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_files import annotation, coco_tables, kaggle_row, write_coco, write_kaggle

from harness.data.source import public_path
from harness.data.sources import check, load
from harness.errors import HarnessError

HOME = "USERPROFILE" if sys.platform == "win32" else "HOME"
SQUARE = [[2, 3, 6, 3, 6, 7, 2, 7]]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "unknown data source"),
        ("sartorious:/x", "did you mean 'sartorius'?"),
        ("/some/folder", "unknown data source"),
        ("sartorius", "names no folder; write sartorius:DIR"),
        ("sartorius:/no/such/place", "there is no '/no/such/place'"),
        ("coco:ann.json", "names one path, two are needed"),
        ("folder:a,b", "there is no 'a'"),
        ("folder:,", "there is no ''"),
        # Windows knows a folder for every name
        ("sartorius:~nobody-of-that-name/x", "there is no" if sys.platform == "win32" else "no home folder"),
        ("sartorius:" + "x" * 5000, "there is no"),
        ("sartorius:a\0b", "there is no"),
    ],
)
def test_what_is_mistyped_is_told_in_one_line(source: str, words: str) -> None:
    for read in (load, check):
        with pytest.raises(HarnessError) as caught:
            read(source)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def test_relative_and_home_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_kaggle(tmp_path / "cells", [kaggle_row("a", "1 2")])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(HOME, str(tmp_path))
    relative, home = load("sartorius:cells"), load("sartorius:~/cells")
    assert (relative.source, relative.public_source) == ("sartorius:cells", "sartorius:cells")
    assert (home.source, home.public_source) == ("sartorius:~/cells", "sartorius:.../cells")
    assert relative.fingerprint == home.fingerprint


def test_absolute_paths_are_cut_for_records(monkeypatch: pytest.MonkeyPatch) -> None:
    assert public_path("/home/someone/study/data/images") == ".../data/images"
    assert public_path("/data") == ".../data"
    assert public_path("C:\\Users\\someone\\study\\data\\images") == ".../data/images"
    assert public_path("D:\\data") == ".../data"
    assert public_path("/home/someone/data") == public_path("/Users/someone/data") == ".../data"
    assert public_path("/home/someone") == public_path("~someone") == "..."
    home = Path("/srv/people/someone").absolute()
    monkeypatch.setenv(HOME, str(home))
    assert public_path(str(home / "data")) == ".../data"
    assert public_path("~/data/images") == ".../data/images"
    assert public_path("../data/images") == "../data/images"


def test_no_folder_of_the_machine_is_in_what_a_record_takes(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    source = write_kaggle(tmp_path / "a" / "b", [kaggle_row("x", "1 2"), kaggle_row("y", "1")])
    dataset = load(source, skip_bad=True)
    found = check(source)
    with pytest.raises(HarnessError) as caught:
        load(source)
    for text in (dataset.public_source, *dataset.notes, *found.problems, *found.notes, str(caught.value)):
        assert str(tmp_path) not in text
        assert tmp_path.name not in text


def test_a_path_may_hold_a_comma(tmp_path: Path) -> None:
    folder = tmp_path / "one, two"
    source = write_coco(folder, coco_tables([annotation(1, SQUARE)]))
    assert load(source).cells == 1


def test_conversions_are_said_once_with_their_number(tmp_path: Path) -> None:
    wide = (np.arange(120).reshape(10, 12) * 100).astype(np.uint16)
    rows = [kaggle_row(i, "1 2") for i in "abc"]
    source = write_kaggle(
        tmp_path,
        rows,
        {"a": wide, "c": wide[::-1], "b": np.dstack([wide.astype(np.uint8)] * 3 + [wide]).astype(np.uint8)},
    )
    notes = load(source).notes
    assert notes == (
        "16-bit, stretched to 8-bit from the 0.1th to the 99.9th percentile: 2 images",
        "alpha channel dropped: 1 image",
    )
    assert load(source).notes == notes
    assert check(source).notes == notes


def test_a_check_stops_at_its_limit(tmp_path: Path) -> None:
    source = write_kaggle(tmp_path, [kaggle_row("a", "1") for _ in range(20)])
    found = check(source, limit=7)
    assert len(found.problems) == 7
    assert found.more
    assert not check(source, limit=20).more


def test_nothing_left_after_skipping_is_told(tmp_path: Path) -> None:
    source = write_kaggle(tmp_path, [kaggle_row("a", "1")])
    with pytest.raises(HarnessError, match="no annotated image"):
        load(source, skip_bad=True)


def test_a_folder_of_another_kind_gets_the_line_to_type(tmp_path: Path) -> None:
    kaggle = write_kaggle(tmp_path, [kaggle_row("a", "1 2")])
    with pytest.raises(HarnessError) as raised:
        load(f"dsb2018:{tmp_path}")
    assert str(raised.value).endswith(f"nothing to train on; the folder looks like {kaggle}")


def test_a_folder_that_vanishes_is_told(tmp_path: Path) -> None:
    source = write_kaggle(tmp_path / "d", [kaggle_row("a", "1 2")])
    dataset = load(source)
    for path in sorted((tmp_path / "d").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    with pytest.raises(HarnessError, match="there is no train"):
        load(source)
    assert dataset[0].size == (10, 12)


def test_colour_and_grey_may_be_mixed(tmp_path: Path) -> None:
    source = write_kaggle(tmp_path, [kaggle_row("a", "1 2"), kaggle_row("b", "1 2")])
    cv2.imwrite(str(tmp_path / "train" / "b.png"), np.full((10, 12, 3), (1, 2, 3), np.uint8))
    dataset = load(source)
    assert [dataset[i].image.shape for i in range(2)] == [(10, 12), (10, 12, 3)]
