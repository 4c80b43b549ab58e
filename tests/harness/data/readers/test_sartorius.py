from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from data_files import PICTURE, kaggle_row, pairs_text, write_kaggle
from systems import link

from harness.data.readers.sartorius import plate_and_well
from harness.data.sources import check, load
from harness.errors import HarnessError


def test_cells_come_back_with_their_types(tmp_path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 2, (3, 10, 12))
    rows = [kaggle_row("b", pairs_text(planes[0])), kaggle_row("a", pairs_text(planes[1]), cell_type="astro")]
    rows.append(kaggle_row("b", pairs_text(planes[2])))
    dataset = load(write_kaggle(tmp_path, rows, {"b": PICTURE[::-1]}))
    assert dataset.ids == ("a", "b")
    assert dataset.classes == ("shsy5y", "astro", "cort")
    assert dataset.cell_types == ("astro", "cort")
    assert dataset.groups == (None, None)
    masks = dataset.sample("b").instances.masks
    assert masks is not None
    assert np.array_equal(masks.planes(10, 12), planes[[0, 2]])
    assert dataset.sample("a").instances.labels.tolist() == [1]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (kaggle_row("a", "119 3"), "train.csv row 3 (image a): a run of pixels 118 to 121 lies outside the 120"),
        (kaggle_row("a", "1 2 3"), "train.csv row 3 (image a): an odd number"),
        (kaggle_row("a", "9 2 3 1"), "train.csv row 3 (image a): runs are not sorted"),
        (kaggle_row("a", "1 5 3 1"), "train.csv row 3 (image a): runs overlap"),
        (kaggle_row("a", "1 2", width=13), "train.csv row 3: height and width are not the 10x12 of row 2"),
        (kaggle_row("b", "1 2", width="wide"), "train.csv row 3: height and width are '10' and 'wide'"),
        (
            kaggle_row("b", "1 2", width=999999, height=999999),
            "train.csv row 3: an image of 999999x999999 is too large",
        ),
        (kaggle_row("b", "1 2", width=13), "train/b.png (train.csv row 3): the image is 10x12"),
        (kaggle_row("", "1 2"), "train.csv row 3: a field is missing"),
        (kaggle_row("../a", "1 2"), "train.csv row 3: the id '../a' is not a plain file name"),
    ],
)
def test_each_fault_is_one_line_with_file_and_row(tmp_path: Path, row: dict, words: str) -> None:
    good = kaggle_row("a", "1 2")
    source = write_kaggle(tmp_path / "data", [good, row])
    with pytest.raises(HarnessError) as caught:
        load(source)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)
    found = check(source)
    assert len(found.problems) == 1
    assert found.problems[0].startswith(words)
    kept = load(source, skip_bad=True)
    assert (kept.ids, kept.cells, kept.skipped_bad) == (("a",), 1, 1)


def test_a_row_without_annotation_is_an_image_without_cells(tmp_path: Path) -> None:
    rows = [kaggle_row("a", "1 2"), kaggle_row("b", ""), kaggle_row("c", "", cell_type=""), kaggle_row("a", "30 2")]
    source = write_kaggle(tmp_path, [*rows, kaggle_row("a", " ")])
    assert check(source).problems == ()
    dataset = load(source)
    assert (dataset.ids, dataset.cells_per_image, dataset.cell_types) == (
        ("a", "b", "c"),
        (2, 0, 0),
        ("cort", None, None),
    )


def test_a_mask_of_more_characters_than_a_csv_field_may_have(tmp_path: Path) -> None:
    text = " ".join(f"{start} 1" for start in range(1, 90_000, 3))
    assert len(text) > 2**17
    source = write_kaggle(
        tmp_path, [kaggle_row("a", text, width=300, height=300)], {"a": np.zeros((300, 300), np.uint8)}
    )
    dataset = load(source)
    assert dataset.cells == 1
    masks = dataset[0].instances.masks
    assert masks is not None
    assert masks.areas().tolist() == [30_000]


def test_missing_and_broken_images(tmp_path: Path) -> None:
    source = write_kaggle(tmp_path, [kaggle_row(i, "1 2") for i in "abc"])
    (tmp_path / "train" / "a.png").unlink()
    path = tmp_path / "train" / "b.png"
    path.write_bytes(path.read_bytes()[:-20])
    found = check(source)
    assert found.problems[0].startswith("train/a.png (train.csv row 2): the file is missing")
    assert found.problems[1].startswith("train/b.png (train.csv row 3): the PNG file breaks off")
    assert (found.images, found.cells) == (1, 1)
    dataset = load(source, skip_bad=True)
    assert (dataset.ids, dataset.skipped_bad) == (("c",), 2)


def test_links_that_the_owner_of_the_folder_placed_are_followed(tmp_path: Path) -> None:
    source = write_kaggle(tmp_path / "data", [kaggle_row("a", "1 2")])
    image = tmp_path / "data" / "train" / "a.png"
    image.rename(tmp_path / "elsewhere")
    link(image, tmp_path / "elsewhere")
    assert load(source).cells == 1


def test_what_is_no_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="there is no train"):
        load(f"sartorius:{tmp_path}")
    (tmp_path / "train.csv").write_text("id,annotation\n")
    with pytest.raises(HarnessError, match="no column width, height, cell_type"):
        load(f"sartorius:{tmp_path}")
    (tmp_path / "train.csv").write_bytes(b"id,annotation,width,height,cell_type\n\xff\xfe,1 2,3,4,cort\n")
    with pytest.raises(HarnessError, match="not text in UTF-8"):
        load(f"sartorius:{tmp_path}")
    (tmp_path / "train.csv").write_text("id,annotation,width,height,cell_type\n")
    with pytest.raises(HarnessError, match="no annotated image"):
        load(f"sartorius:{tmp_path}")


def test_images_without_rows_are_noted_and_unlabelled_ones_listed(tmp_path: Path) -> None:
    source = write_kaggle(tmp_path, [kaggle_row("a", "1 2")])
    (tmp_path / "train_semi_supervised").mkdir()
    for name in ("train/more.png", "train_semi_supervised/u.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((10, 12), np.uint8))
    dataset = load(source)
    assert dataset.notes == ("no row in train.csv, left out: 1 images of train/",)
    assert [p.name for p in dataset.unlabelled] == ["u.png"]


def test_further_columns_are_known_by_image_and_survive_the_cache(tmp_path: Path) -> None:
    rows = [kaggle_row("a", "1 2", plate_time="9h"), kaggle_row("a", "5 2", plate_time="9h"), kaggle_row("b", "1 2")]
    source = write_kaggle(tmp_path, rows)
    for dataset in (load(source), load(source)):
        assert dataset.columns["plate_time"] == ("9h", None)
        assert set(dataset.columns) == {"plate_time"}


def test_groups_are_vessel_and_well() -> None:
    well = plate_and_well({"sample_id": "shsy5y[diff]_E10-4_Vessel-361_Ph_3", "plate_time": "11h59m00s"})
    assert well == "Vessel-361 E10"
    assert plate_and_well({"sample_id": "shsy5y[diff]_E10-1_Vessel-361_Ph_1"}) == well
    assert plate_and_well({"sample_id": "shsy5y[diff]_D10-1_Vessel-361_Ph_1"}) != well
    assert plate_and_well({"sample_id": "mine", "plate_time": "9h"}) == "9h mine"
    assert plate_and_well({"sample_id": ""}) is None


def test_real_images(real_data: Path) -> None:
    dataset = load(f"sartorius:{real_data / 'sartorius'}")
    assert (len(dataset), dataset.cells, dataset.max_cells, dataset.max_size) == (200, 23579, 782, (520, 704))
    assert dataset.notes == (
        "cells with the same mask as another cell of their image: 7, on 3 images",
        "cells with nearly the same mask as another cell of their image: 59, on 3 images",
    )
    assert dataset.doubts == ()
    assert dataset.doubts == ()
    sample = dataset[0]
    assert sample.instances.masks is not None
    assert np.array_equal(sample.instances.boxes, sample.instances.masks.tight()[0].boxes)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.replace(",", ";"),
        lambda table: table.replace(",", "\t"),
        lambda table: table.replace("id,annotation,width", "ID, Annotation ,Width", 1),
        lambda table: table.replace("\na,", "\na.png,"),
        lambda table: table.replace(",12,10,", ",12.0,10.00,"),
        lambda table: table.replace("14 3 26 3", "14\t3  26\t3 "),
        lambda table: table.replace(",cort", ", Cort "),
    ],
    ids=[
        "semicolons",
        "tabs",
        "names of columns",
        "ids with suffix",
        "sizes as floats",
        "tabs in run lengths",
        "spaces and case of types",
    ],
)
def test_tables_as_spreadsheets_save_them(tmp_path: Path, change) -> None:
    source = write_kaggle(tmp_path, [kaggle_row("a", "14 3 26 3")])
    table = (tmp_path / "train.csv").read_text("utf-8")
    (tmp_path / "train.csv").write_text(change(table))
    dataset = load(source)
    assert dataset.ids == ("a",)
    assert dataset.classes == ("shsy5y", "astro", "cort")
    assert dataset[0].instances.labels.tolist() == [2]


def test_images_with_another_suffix_are_found(tmp_path: Path) -> None:
    source = write_kaggle(tmp_path, [kaggle_row("a", "14 3"), kaggle_row("b.tif", "14 3")])
    for name in ("a", "b.tif"):
        (tmp_path / "train" / f"{name}.png").unlink()
        tifffile.imwrite(tmp_path / "train" / f"{name[0]}.tif", np.full((10, 12), 90, np.uint8))
    dataset = load(source)
    assert (dataset.ids, dataset.cells, dataset.notes) == (("a", "b"), 2, ())


def test_a_run_at_pixel_0_says_how_run_lengths_count(tmp_path: Path) -> None:
    (problem,) = check(write_kaggle(tmp_path, [kaggle_row("a", "0 3 20 2"), kaggle_row("a", "30 2")])).problems
    assert "a run begins at pixel 0, outside the image: run lengths count from 1 here" in problem


def test_an_annotation_that_a_spreadsheet_cut_is_told(tmp_path: Path) -> None:
    text = " ".join(f"{start} 1" for start in range(1, 12_000, 2))
    rows = [kaggle_row("a", text[:32_767], height=100, width=100)]
    source = write_kaggle(tmp_path, rows, {"a": np.zeros((100, 100), np.uint8)})
    (problem,) = check(source).problems
    assert problem.startswith("train.csv row 2: an annotation of exactly 32,767 characters, where spreadsheets cut")


def test_a_table_that_is_not_in_utf_8_is_told(tmp_path: Path) -> None:
    source = write_kaggle(tmp_path, [kaggle_row("a", "1 2")])
    table = (tmp_path / "train.csv").read_text("utf-8")
    for encoding in ("utf-16", "cp1252"):
        (tmp_path / "train.csv").write_bytes(table.replace("cort", "\u00b5glia").encode(encoding))
        assert check(source).problems == ("train.csv is not text in UTF-8; save it as CSV in UTF-8",)
