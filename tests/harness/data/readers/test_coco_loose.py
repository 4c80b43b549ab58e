"""Files of COCO that other tools read though they are not quite so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import GOOD, SQUARE, annotation, coco_tables, write_coco
from pycocotools import mask as coco

from harness.data import segmentations
from harness.data.sources import check, load
from harness.errors import HarnessError

TWO = [annotation(1, SQUARE), annotation(2, [[7, 1, 11, 1, 11, 5, 7, 5]])]


def changed(tables: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The tables with every row of one table changed: images=..., annotations=... by a function of row and number."""
    return {
        name: [more[name](dict(row), i) for i, row in enumerate(table)] if name in more else table
        for name, table in tables.items()
    }


def runs_of(polygons: list[list[int]]) -> dict[str, Any]:
    """The same mask as run lengths in numbers."""
    plane = coco.decode(coco.merge(coco.frPyObjects(polygons, 10, 12)))
    return {"size": [10, 12], "counts": np.diff([0, *(np.flatnonzero(np.diff(plane.T.ravel())) + 1), 120]).tolist()}


LOOSE = {
    "ids as text": {
        "images": lambda row, i: row | {"id": str(row["id"])},
        "annotations": lambda row, i: row | {"id": f"x{i}", "image_id": "1", "category_id": "7"},
    },
    "ids as floats": {"annotations": lambda row, i: row | {"id": float(i), "image_id": 1.0, "category_id": 7.0}},
    "ids that are UUIDs": {
        "images": lambda row, i: row | {"id": "3f2504e0-4f89-11d3-9a0c-0305e82c3301"},
        "annotations": lambda row, i: row | {"image_id": "3f2504e0-4f89-11d3-9a0c-0305e82c3301"},
    },
    "no ids of annotations": {"annotations": lambda row, i: {k: v for k, v in row.items() if k != "id"}},
    "ids of annotations that restart": {"annotations": lambda row, i: row | {"id": 1}},
    "a box of null": {"annotations": lambda row, i: row | {"bbox": None}},
    "a box of NaN": {"annotations": lambda row, i: row | {"bbox": [float("nan"), 1, 2, 3]}},
    "no size": {"images": lambda row, i: {k: v for k, v in row.items() if k not in ("height", "width")}},
    "a size of floats": {"images": lambda row, i: row | {"height": 10.0, "width": "12"}},
    "a size of 0x0": {"images": lambda row, i: row | {"height": 0, "width": "0"}},
    "numbers of polygons as text": {
        "annotations": lambda row, i: row | {"segmentation": [[f"{number:.1f}" for number in row["segmentation"][0]]]}
    },
    "a flat polygon of text": {
        "annotations": lambda row, i: row | {"segmentation": list(map(str, row["segmentation"][0]))}
    },
    "polygons as text": {"annotations": lambda row, i: row | {"segmentation": json.dumps(row["segmentation"])}},
    "run lengths as text of JSON": {
        "annotations": lambda row, i: row | {"segmentation": json.dumps(runs_of(row["segmentation"]))}
    },
    "run lengths of text": {
        "annotations": lambda row, i: (
            row
            | {
                "segmentation": {
                    "size": ["10", "12"],
                    "counts": [str(n) for n in runs_of(row["segmentation"])["counts"]],
                }
            }
        )
    },
    "no crowd flag": {"annotations": lambda row, i: {k: v for k, v in row.items() if k != "iscrowd"}},
    "a flat polygon": {"annotations": lambda row, i: row | {"segmentation": row["segmentation"][0]}},
    "a polygon of points": {
        "annotations": lambda row, i: row | {"segmentation": np.reshape(row["segmentation"], (-1, 2)).tolist()}
    },
    "polygons of points": {
        "annotations": lambda row, i: row | {"segmentation": [np.reshape(row["segmentation"], (-1, 2)).tolist()]}
    },
}


@pytest.mark.parametrize("kind", LOOSE)
def test_what_other_tools_read_is_read(kind: str, tmp_path: Path) -> None:
    tables = coco_tables(TWO)
    strict = load(write_coco(tmp_path / "strict", tables))
    source = write_coco(tmp_path / "loose", changed(tables, **LOOSE[kind]))
    assert check(source).problems == ()
    assert load(source).fingerprint == strict.fingerprint
    assert load(source).cells == 2


def test_annotations_may_be_an_object_keyed_by_id(tmp_path: Path) -> None:
    tables = coco_tables(TWO)
    source = write_coco(tmp_path, tables)
    (tmp_path / "ann.json").write_text(json.dumps(tables | {"annotations": {str(row["id"]): row for row in TWO}}))
    assert load(source).cells == 2


def test_one_picture_under_two_ids_is_one_image(tmp_path: Path) -> None:
    tables = coco_tables([TWO[0], TWO[1] | {"image_id": 2}], ("a.png", "a.png"))
    dataset = load(write_coco(tmp_path, tables))
    assert (len(dataset), dataset.cells) == (1, 2)
    assert dataset.notes == ("pictures that stand under several ids, each taken as one: 1",)


@pytest.mark.parametrize("sliver", [[], [5, 5], [5, 5, 6, 6]])
def test_a_sliver_beside_a_good_polygon_does_not_lose_the_cell(tmp_path: Path, sliver: list[int]) -> None:
    strict = load(write_coco(tmp_path / "strict", coco_tables([GOOD])))
    source = write_coco(tmp_path / "sliver", coco_tables([annotation(1, [*SQUARE, sliver])]))
    assert load(source).fingerprint == strict.fingerprint
    assert check(source).problems == ()
    assert check(source).notes == ("polygons of fewer than three points beside good ones, left out: 1 image",)


def test_a_category_without_annotations_that_repeats_a_name_is_left_out(tmp_path: Path) -> None:
    tables = coco_tables([GOOD])
    tables["categories"].insert(0, {"id": 0, "name": "nucleus", "supercategory": "none"})
    dataset = load(write_coco(tmp_path, tables))
    assert dataset.classes == ("nucleus",)
    assert "left out: nucleus" in dataset.notes[0]
    tables["annotations"].append(annotation(2, SQUARE, category_id=0))
    with pytest.raises(HarnessError, match="two categories share a name, and both have annotations"):
        load(write_coco(tmp_path, tables))


@pytest.mark.parametrize(
    "segmentation",
    [
        [[[[2, 3]], [[6, 3]], [[6, 7]], [[2, 7]]]],
        [{"size": [10, 12], "counts": [23, 4, 6, 4, 6, 4, 6, 4, 63]}],
        {"size": [10, 12], "counts": [23.0, 4.0, 6.0, 4.0, 6.0, 4.0, 6.0, 4.0, 63.0]},
    ],
    ids=["as OpenCV nests points", "run lengths in a list", "run lengths as floats"],
)
def test_more_ways_to_write_a_square(tmp_path: Path, segmentation: Any) -> None:
    masks = load(write_coco(tmp_path, coco_tables([annotation(1, segmentation)])))[0].instances.masks
    assert masks is not None
    assert masks.boxes.tolist() == [[2, 3, 6, 7]]
    assert masks.areas().tolist() == [16]


@pytest.mark.parametrize("image_id", ["1.0", "001", "0001.00", " 1 "])
def test_numbers_as_text_are_numbers(tmp_path: Path, image_id: str) -> None:
    assert check(write_coco(tmp_path, coco_tables([GOOD | {"image_id": image_id}]))).problems == ()


@pytest.mark.parametrize("crowd", ["0", "", 0.0])
def test_crowd_flags_may_be_text(tmp_path: Path, crowd: Any) -> None:
    flags = load(write_coco(tmp_path, coco_tables([GOOD | {"iscrowd": crowd}])))[0].instances.crowd
    assert flags is None or not flags.any()


@pytest.mark.parametrize("box", [[0, 0, 0, 0], [10**400] * 4, [float("nan")] * 4])
def test_boxes_that_say_nothing_are_not_held_against_masks(tmp_path: Path, box: list[Any]) -> None:
    two = [GOOD | {"bbox": box}, annotation(2, [[7, 1, 11, 1, 11, 4, 7, 4]], bbox=box)]
    assert check(write_coco(tmp_path, coco_tables(two))).problems == ()


def test_a_category_written_twice_counts_once(tmp_path: Path) -> None:
    tables = coco_tables([GOOD])
    tables["categories"] *= 2
    assert load(write_coco(tmp_path, tables)).classes == ("nucleus",)


def test_categories_that_differ_in_case_or_spaces_are_told(tmp_path: Path) -> None:
    tables = coco_tables([GOOD])
    tables["categories"].append({"id": 8, "name": " Nucleus"})
    assert any("differ in case or spaces" in note for note in check(write_coco(tmp_path, tables)).notes)


def test_images_keyed_by_id_need_no_id_of_their_own(tmp_path: Path) -> None:
    tables = coco_tables([GOOD])
    source = write_coco(tmp_path, tables)
    keyed = {"1": {key: value for key, value in tables["images"][0].items() if key != "id"}}
    (tmp_path / "ann.json").write_text(json.dumps(tables | {"images": keyed}))
    assert check(source).cells == 1


def test_crowd_regions_are_told(tmp_path: Path) -> None:
    some = load(write_coco(tmp_path / "some", coco_tables([TWO[0] | {"iscrowd": 1}, TWO[1]])))
    assert some.notes == (
        "crowd regions, neither trained on nor scored: 1 of 2 annotations; CVAT marks what is drawn with its brush so: "
        "where they are cells, set iscrowd to 0",
    )


def test_annotations_that_are_all_marked_as_crowds_are_cells(tmp_path: Path) -> None:
    dataset = load(write_coco(tmp_path, coco_tables([row | {"iscrowd": 1} for row in TWO])))
    assert dataset.notes[0].startswith("every annotation has iscrowd 1, a region of many cells: taken as cells (CVAT")
    crowd = dataset[0].instances.crowd
    assert crowd is not None
    assert crowd.tolist() == [False, False]


def test_run_lengths_written_as_bytes_of_python_are_read(tmp_path: Path) -> None:
    plane = np.asfortranarray(np.indices((10, 12)).sum(axis=0) % 5 == 0, dtype=np.uint8)
    text = coco.encode(plane)["counts"]
    strict = load(write_coco(tmp_path / "strict", coco_tables([annotation(1, runs(text.decode()))])))
    assert load(write_coco(tmp_path, coco_tables([annotation(1, runs(str(text)))]))).fingerprint == strict.fingerprint


def runs(counts: str) -> dict[str, Any]:
    return {"size": [10, 12], "counts": counts}


def test_a_backslash_in_bytes_of_python_is_one() -> None:
    assert segmentations._without_bytes_literal(str(b"PP\\1")) == "PP\\1"
    assert segmentations._without_bytes_literal("b1") == "b1"


@pytest.mark.parametrize("name", ["a.tif", "images/1a2b3c4d-a.png", "1a2b3c4d-a.jpg"])
def test_images_that_were_converted_or_renamed_on_upload_are_found(tmp_path: Path, name: str) -> None:
    source = write_coco(tmp_path, coco_tables([GOOD]))
    (tmp_path / "ann.json").write_text(json.dumps(coco_tables([GOOD], (name,))))
    found = check(source)
    assert (found.problems, found.cells) == ((), 1)
    converted = "images found under another ending than the annotations name: 1"
    assert (converted in found.notes) == (not name.endswith("png"))


def test_an_outline_inside_another_is_told(tmp_path: Path) -> None:
    hole = [3, 4, 5, 4, 5, 6, 3, 6]
    found = check(write_coco(tmp_path / "hole", coco_tables([annotation(1, [*SQUARE, hole])])))
    assert found.notes == (
        "cells with an outline inside another one, both filled as COCO does: was it a hole?: 1 image",
    )
    apart = check(write_coco(tmp_path / "apart", coco_tables([annotation(1, [*SQUARE, [8, 1, 10, 1, 10, 3, 8, 3]])])))
    assert apart.notes == ()


def test_an_unknown_category_is_told_with_those_there_are(tmp_path: Path) -> None:
    (problem,) = check(write_coco(tmp_path, coco_tables([GOOD | {"category_id": 0}]))).problems
    assert problem.endswith("there is no category with the id 0; there are: 7")


def test_sizes_with_height_and_width_exchanged_are_told(tmp_path: Path) -> None:
    tables = coco_tables([GOOD])
    source = write_coco(tmp_path, tables)
    tables["images"][0] |= {"height": 12, "width": 10}
    (tmp_path / "ann.json").write_text(json.dumps(tables))
    assert "its annotation 12x10; are height and width exchanged there?" in check(source).problems[0]


def test_a_folder_of_roboflow_is_guessed(tmp_path: Path) -> None:
    write_coco(tmp_path, coco_tables([GOOD]))
    (tmp_path / "images").rename(tmp_path / "train")
    (tmp_path / "ann.json").rename(tmp_path / "train" / "_annotations.coco.json")
    with pytest.raises(HarnessError, match=r"it looks like coco:.*train[\\/]_annotations.coco.json,.*train: type that"):
        load(str(tmp_path))
