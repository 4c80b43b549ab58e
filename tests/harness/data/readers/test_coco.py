from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from data_files import GOOD, SQUARE, annotation, coco_tables, write_coco
from pycocotools import mask as coco
from systems import link

from harness.data.sources import check, load
from harness.errors import HarnessError


def test_polygons_and_both_run_lengths_give_the_mask_of_pycocotools(tmp_path: Path) -> None:
    rle = coco.merge(coco.frPyObjects([[2.5, 3, 9, 3.2, 5, 8], [1.0, 1, 3, 1, 2, 3]], 10, 12))
    plane = coco.decode(rle)
    runs = np.diff(np.concatenate([[0], np.flatnonzero(np.diff(plane.T.ravel())) + 1, [120]])).tolist()
    segmentations = [
        [[2.5, 3, 9, 3.2, 5, 8], [1.0, 1, 3, 1, 2, 3]],
        {"size": [10, 12], "counts": rle["counts"].decode()},
        {"size": [10, 12], "counts": runs},
    ]
    source = write_coco(tmp_path, coco_tables([annotation(i, s) for i, s in enumerate(segmentations)]))
    sample = load(source)[0]
    assert sample.instances.masks is not None
    for read in sample.instances.masks.planes(10, 12):
        assert np.array_equal(read, plane)
    assert sample.cell_type == "nucleus"


def test_further_fields_of_an_image_are_columns(tmp_path: Path) -> None:
    tables = coco_tables([GOOD], ("a.png", "b.png"))
    tables["images"][0] |= {"plate": 3, "coco_url": "http://x", "tags": ["x"], "note": " "}
    assert load(write_coco(tmp_path, tables)).columns == {"plate": ("3", None)}


def test_crowd_flags_are_kept_and_labels_follow_category_ids(tmp_path: Path) -> None:
    tables = coco_tables([annotation(1, SQUARE, iscrowd=1, category_id=3), GOOD | {"id": 2}])
    tables["categories"].append({"id": 3, "name": "mitosis"})
    dataset = load(write_coco(tmp_path, tables))
    crowd = dataset[0].instances.crowd
    assert dataset.classes == ("mitosis", "nucleus")
    assert crowd is not None
    assert crowd.tolist() == [True, False]
    assert dataset[0].instances.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (annotation(2, [[1, 1, 2, 2]]), "a polygon of 4 numbers; three points"),
        (annotation(2, [[1, 1, 2, 2, 3]]), "a polygon of 5 numbers"),
        (annotation(2, [[1, 1, 2, float("nan"), 3, 3]]), "not a list of finite numbers"),
        (annotation(2, [[1, 1, 2, float("inf"), 3, 3]]), "not a list of finite numbers"),
        (annotation(2, [[1, 1, 2, 1e8, 3, 3]]), "reaches far outside"),
        (annotation(2, [[1, 1, -1e8, 2, 3, 3]]), "reaches far outside"),
        (annotation(2, [[-9, -9, -8, -9, -8, -8]]), "an empty mask"),
        (annotation(2, []), "an empty mask"),
        (annotation(2, None), "no segmentation"),
        (annotation(2, {"size": [10, 12], "counts": [120]}), "an empty mask"),
        (annotation(2, {"size": [10, 12], "counts": [0, 121]}), "whole numbers that fit"),
        (annotation(2, {"size": [10, 12], "counts": [60, 60, 1]}), "cover 121 pixels"),
        (annotation(2, {"size": [10, 12], "counts": [0, "x"]}), "neither text nor a list"),
        (annotation(2, "[[1, 1, 2"), "the segmentation is text that is not JSON"),
        (annotation(2, [["1", "1", "2", "x", "3", "3"]]), "not a list of finite numbers"),
        (annotation(2, [["1", "1", "2", "nan", "3", "3"]]), "not a list of finite numbers"),
        (annotation(2, {"size": [12, 10], "counts": [0, 120]}), "the run lengths are of [12, 10]"),
        (annotation(2, {"size": [10, 12], "counts": "not runs"}), "compressed run lengths"),
        (annotation(2, SQUARE, image_id=9), "annotations[1] (id 2): there is no good image with the id 9"),
        (annotation(2, SQUARE, category_id=9), "there is no category with the id 9"),
        (annotation(2, SQUARE, iscrowd="no"), "iscrowd is no"),
        (annotation(2, [[0.1, 0.2, 0.3, 0.2, 0.3, 0.4]]), "no coordinate is above 1: fractions of the image"),
        (annotation(2, SQUARE, image_id=None), "annotations[1] (id 2): there is no good image with the id None"),
        (annotation(2, SQUARE, image_id=True), "there is no good image with the id True"),
    ],
)
def test_each_fault_is_one_line_with_its_place(tmp_path: Path, bad: dict[str, Any], words: str) -> None:
    source = write_coco(tmp_path, coco_tables([GOOD, bad]))
    with pytest.raises(HarnessError) as caught:
        load(source)
    assert words in str(caught.value)
    assert str(caught.value).startswith("annotations[1]")
    assert len(check(source).problems) == 1
    kept = load(source, skip_bad=True)
    assert (kept.cells, kept.skipped_bad) == (1, 1)


def test_a_fault_of_an_image_is_told_with_its_place(tmp_path: Path) -> None:
    tables = coco_tables([GOOD], ("a.png", "b.png"))
    source = write_coco(tmp_path, tables)
    for change, words in (
        ({"id": 1}, "images[1] (b.png): the id 1 is there twice"),
        ({"file_name": "a.png", "height": 11}, "images[1] (a.png): the file_name is there twice, with another size"),
        ({"height": 0}, "images[1] (b.png): an image of 0x12"),
        ({"width": 10**9}, "images[1] (b.png): an image of 10x1000000000"),
        ({"height": 11}, "b.png: the image is 10x12"),
        ({"file_name": "c.png"}, "c.png: the file is missing"),
        ({"file_name": 5}, "images[1]: needs"),
        ({"file_name": "b\n.png"}, "images[1]: the file_name 'b .png' holds characters that cannot be printed"),
    ):
        changed = {**tables, "images": [tables["images"][0], {**tables["images"][1], **change}]}
        (tmp_path / "ann.json").write_text(json.dumps(changed))
        assert check(source).problems[0].startswith(words)


def test_a_file_name_cannot_reach_outside(tmp_path: Path) -> None:
    source = write_coco(tmp_path / "data", coco_tables([GOOD]))
    cv2.imwrite(str(tmp_path / "secret.png"), np.zeros((10, 12), np.uint8))
    for name in ("../../secret.png", str(tmp_path / "secret.png"), "C:\\secret.png", "..\\secret.png", "a.png\0"):
        tables = coco_tables([GOOD], (name,))
        (tmp_path / "data" / "ann.json").write_text(json.dumps(tables))
        with pytest.raises(HarnessError, match=r"leads out of|cannot be printed"):
            load(source)


def test_links_that_the_owner_of_the_folder_placed_are_followed(tmp_path: Path) -> None:
    source = write_coco(tmp_path / "data", coco_tables([GOOD]))
    image = tmp_path / "data" / "images" / "a.png"
    image.rename(tmp_path / "elsewhere")
    link(image, tmp_path / "elsewhere")
    assert check(source).problems == ()
    assert load(source).cells == 1


def test_the_folder_may_be_given_with_or_without_the_prefix_of_the_names(tmp_path: Path) -> None:
    write_coco(tmp_path, coco_tables([GOOD], ("a.png",)))
    (tmp_path / "ann.json").write_text(json.dumps(coco_tables([GOOD], ("images/a.png",))))
    with_prefix = load(f"coco:{tmp_path / 'ann.json'},{tmp_path}")
    without = load(f"coco:{tmp_path / 'ann.json'},{tmp_path / 'images'}")
    assert with_prefix.ids == without.ids == ("a",)
    assert with_prefix.fingerprint == without.fingerprint


def test_names_that_share_a_stem_keep_their_endings(tmp_path: Path) -> None:
    dataset = load(write_coco(tmp_path, coco_tables([GOOD], ("a.png", "a.bmp"))))
    assert dataset.ids == ("a.bmp", "a.png")
    assert dataset.cell_types == (None, "nucleus")


def test_type_and_well_are_read_off_livecell_names(tmp_path: Path) -> None:
    dataset = load(write_coco(tmp_path, coco_tables([GOOD], ("SHSY5Y_Phase_C10_1_02d16h00m_4.tif",))))
    assert dataset.cell_types == ("SHSY5Y",)
    assert dataset.groups == ("SHSY5Y C10",)


NAMES = ["a.png", "sub\\a b.png", "sub/a%20b.png", "images/sub/a b.png", "train/a b.png", "a b.png"]


@pytest.mark.parametrize("name", NAMES)
def test_files_are_found_however_the_exporter_saw_the_folders(tmp_path: Path, name: str) -> None:
    source = write_coco(tmp_path, coco_tables([GOOD]))
    if name != "a.png":
        (tmp_path / "images" / "sub").mkdir()
        (tmp_path / "images" / "a.png").rename(tmp_path / "images" / "sub" / "a b.png")
    (tmp_path / "ann.json").write_text(json.dumps(coco_tables([GOOD], (name,))))
    assert check(source).problems == ()
    assert load(source).cells == 1


def test_a_name_that_several_files_share_is_not_guessed(tmp_path: Path) -> None:
    source = write_coco(tmp_path, coco_tables([GOOD]))
    for folder in ("one", "two"):
        (tmp_path / "images" / folder).mkdir()
        cv2.imwrite(str(tmp_path / "images" / folder / "b.png"), np.zeros((10, 12), np.uint8))
    (tmp_path / "ann.json").write_text(json.dumps(coco_tables([GOOD], ("b.png",))))
    assert "b.png is not there, and 2 files below images may be meant" in check(source).problems[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda polygon, box: (np.reshape(polygon, (-1, 2))[:, ::-1].ravel().tolist(), box), "y, x"),
        (lambda polygon, box: ([number / 3 for number in polygon], box), "percent"),
        (lambda polygon, box: (polygon, box), ""),
        (lambda polygon, box: (polygon, [box[0], box[1], box[0] + box[2], box[1] + box[3]]), ""),
    ],
)
def test_boxes_are_held_against_masks(tmp_path: Path, change: Any, words: str) -> None:
    rows = []
    for i, (x, y) in enumerate([(60, 5), (80, 30), (70, 60), (30, 70)]):
        polygon, box = change([x, y, x + 12, y, x + 12, y + 9, x, y + 9], [x, y, 12, 9])
        rows.append(annotation(i, [polygon], bbox=box))
    tables = coco_tables(rows)
    source = write_coco(tmp_path, tables)
    cv2.imwrite(
        str(tmp_path / "images" / "a.png"), np.arange(10_000, dtype=np.uint16).reshape(100, 100).astype(np.uint8)
    )
    tables["images"][0] |= {"height": 100, "width": 100}
    (tmp_path / "ann.json").write_text(json.dumps(tables))
    found = check(source)
    assert found.cells == 4
    assert len(found.problems) == bool(words)
    assert all("of 4 boxes lie elsewhere than their masks" in problem for problem in found.problems)
    assert all(words in problem for problem in found.problems)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", 'no list "images"'),
        ('{"images": [], "annotations": 5, "categories": []}', 'no list "annotations"'),
        ('{"images": [], "annotations": [], "categories": []}', '"categories" is empty'),
        ('{"images": [], "annotations": [], "categories": [7]}', "categories[0]"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "c"}]}', "no annotated image"),
    ],
)
def test_what_is_no_coco_file_is_told(tmp_path: Path, text: str, words: str) -> None:
    source = write_coco(tmp_path, coco_tables([GOOD]))
    (tmp_path / "ann.json").write_text(text)
    with pytest.raises(HarnessError) as caught:
        load(source)
    assert words in str(caught.value)


def test_ten_bytes_that_claim_a_huge_image_cost_no_memory(tmp_path: Path) -> None:
    tables = coco_tables([annotation(1, {"size": [31623, 31623], "counts": "PPYo1PPYo1"})])
    source = write_coco(tmp_path, tables)
    for height, width in ((31623, 31623), (11000, 11000)):
        tables["images"][0] |= {"height": height, "width": width}
        (tmp_path / "ann.json").write_text(json.dumps(tables))
        tracemalloc.start()
        with pytest.raises(HarnessError):
            load(source, cache=False)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8e6


def test_real_images(real_data: Path) -> None:
    folder = real_data / "dsb2018"
    if not (folder / "annotations.json").is_file():
        pytest.skip(f"no real images at {folder}")
    dataset = load(f"coco:{folder / 'annotations.json'},{folder}")
    assert (len(dataset), dataset.cells, dataset.classes) == (160, 7205, ("nucleus",))
    tables = json.loads((folder / "annotations.json").read_text("utf-8"))
    areas: dict[str, list[int]] = {}
    names = {image["id"]: Path(image["file_name"]).stem for image in tables["images"]}
    for row in tables["annotations"]:
        areas.setdefault(names[row["image_id"]], []).append(int(coco.area(row["segmentation"])))
    for i, image_id in enumerate(dataset.ids):
        masks = dataset[i].instances.masks
        assert masks is not None
        assert masks.areas().tolist() == areas[image_id]
