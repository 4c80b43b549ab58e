from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from harness.data.sources import check, load
from harness.errors import HarnessError
from tests.harness.data.conftest import annotation, coco_tables, write_coco

SQUARE = [[2, 3, 6, 3, 6, 7, 2, 7]]
GOOD = annotation(1, SQUARE)


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
        (annotation(2, {"size": [10, 12], "counts": [0, "7"]}), "neither text nor a list"),
        (annotation(2, {"size": [12, 10], "counts": [0, 120]}), "the run lengths are of [12, 10]"),
        (annotation(2, {"size": [10, 12], "counts": "not runs"}), "compressed run lengths"),
        (annotation(1, SQUARE), "annotations[1] (id 1): the id is there twice"),
        (annotation(2, SQUARE, image_id=9), "annotations[1] (id 2): there is no good image with the id 9"),
        (annotation(2, SQUARE, category_id=9), "there is no category with the id 9"),
        (annotation(2, SQUARE, iscrowd="no"), "iscrowd is no"),
        (annotation(2, SQUARE, bbox=[1, 2, float("nan"), 4]), "bbox is not four finite numbers"),
        (annotation("two", SQUARE), "annotations[1]: needs a whole number as id"),  # type: ignore[arg-type]
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
        ({"file_name": "a.png"}, "images[1] (a.png): the file_name is there twice"),
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
    image.symlink_to(tmp_path / "elsewhere")
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", 'no list "images"'),
        ('{"images": [], "annotations": {}, "categories": []}', 'no list "annotations"'),
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
    tables = json.loads((folder / "annotations.json").read_text())
    areas: dict[str, list[int]] = {}
    names = {image["id"]: Path(image["file_name"]).stem for image in tables["images"]}
    for row in tables["annotations"]:
        areas.setdefault(names[row["image_id"]], []).append(int(coco.area(row["segmentation"])))
    for i, image_id in enumerate(dataset.ids):
        masks = dataset[i].instances.masks
        assert masks is not None
        assert masks.areas().tolist() == areas[image_id]
