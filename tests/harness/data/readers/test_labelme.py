from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from harness.data.sources import check, load
from harness.errors import HarnessError

IMAGE = np.arange(20 * 24, dtype=np.uint16).reshape(20, 24).astype(np.uint8)


def shape(points: Any, kind: str | None = "polygon", label: str = "cell", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


def png(pixels: NDArray) -> str:
    return base64.b64encode(cv2.imencode(".png", pixels)[1].tobytes()).decode("ascii")


def write(folder: Path, *shapes: Any, image: bool = True, **more: Any) -> str:
    if image:
        cv2.imwrite(str(folder / "x.png"), IMAGE)
    whole = {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": "x.png", "imageData": None}
    whole |= {"imageHeight": 20, "imageWidth": 24, **more}
    (folder / "x.json").write_text(json.dumps(whole))
    return f"labelme:{folder}"


SQUARE = shape([[2, 3], [7, 3], [7, 6], [2, 6]])


def planes(source: str) -> NDArray[np.uint8]:
    masks = load(source, cache=False)[0].instances.masks
    assert masks is not None
    return masks.planes(20, 24)


def test_a_polygon_is_filled_as_coco_fills_it(tmp_path: Path) -> None:
    (plane,) = planes(write(tmp_path, SQUARE))
    assert plane[3:6, 2:7].all()
    assert plane.sum() == 15


@pytest.mark.parametrize("points", [[[2, 3], [7, 6]], [[7, 6], [2, 3]], [[2, 3], [7, 3], [7, 6], [2, 6]]])
def test_a_rectangle_is_two_corners_in_any_order_or_four(tmp_path: Path, points: Any) -> None:
    (plane,) = planes(write(tmp_path, shape(points, "rectangle")))
    assert plane[3:6, 2:7].all()
    assert plane.sum() == 15


def test_a_circle_is_its_centre_and_a_point_on_it(tmp_path: Path) -> None:
    (plane,) = planes(write(tmp_path, shape([[10, 9], [13, 13]], "circle")))
    y, x = np.mgrid[:20, :24] + 0.5
    assert np.array_equal(plane != 0, (x - 10) ** 2 + (y - 9) ** 2 <= 25)


@pytest.mark.parametrize("scale", [1, 255])
def test_a_mask_lies_between_its_two_pixels(tmp_path: Path, scale: int) -> None:
    pixels = np.asarray([[1, 1, 0, 1], [1, 0, 0, 1], [0, 1, 1, 1]], np.uint8)
    (plane,) = planes(write(tmp_path, shape([[5, 6], [8, 8]], "mask", mask=png(pixels * np.uint8(scale)))))
    assert np.array_equal(plane[6:9, 5:9], pixels)
    assert plane.sum() == pixels.sum()


def test_shapes_of_one_group_are_one_cell_and_overlaps_stay(tmp_path: Path) -> None:
    parts = [shape([[1, 1], [3, 3]], "rectangle", group_id=4), shape([[10, 10], [12, 12]], "rectangle", group_id=4)]
    masks = planes(write(tmp_path, *parts, shape([[1, 1], [5, 5]], "rectangle"), shape([[2, 2], [6, 6]], "rectangle")))
    assert masks.sum(axis=(1, 2)).tolist() == [8, 16, 16]


def test_labels_are_classes_sorted(tmp_path: Path) -> None:
    dataset = load(write(tmp_path, shape(SQUARE["points"], label="neuron"), shape(SQUARE["points"], label="astro")))
    assert dataset.classes == ("astro", "neuron")
    assert dataset[0].instances.labels.tolist() == [1, 0]


def test_points_lines_and_what_is_to_be_ignored_are_left_out_and_counted(tmp_path: Path) -> None:
    others = (
        shape([[1, 1]], "point", "seed"),
        shape([[1, 1], [2, 2]], "line"),
        shape(SQUARE["points"], label="__ignore__"),
    )
    dataset = load(write(tmp_path, SQUARE, *others))
    assert (dataset.cells, dataset.classes) == (1, ("cell",))
    assert {note for note in dataset.notes if note.startswith("labelme")} == {
        "labelme shapes of the type line, left out: 1 image",
        "labelme shapes of the type point, left out: 1 image",
        "labelme shapes marked as background or to be ignored, left out: 1 image",
    }


PATHS = ["x.png", "./x.png", "..\\images\\x.png", "../images/x.png", "/data/of/someone/x.png", "C:\\x.png"]


@pytest.mark.parametrize("path", PATHS)
def test_the_image_is_found_by_its_name_wherever_it_was(tmp_path: Path, path: str) -> None:
    dataset = load(write(tmp_path, SQUARE, imagePath=path))
    assert dataset.ids == ("x",)
    assert not dataset.unlabelled


def test_an_image_elsewhere_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    cv2.imwrite(str(tmp_path / "secret.png"), IMAGE)
    for path in ("../secret.png", str(tmp_path / "secret.png")):
        (problem,) = check(write(tmp_path / "data", SQUARE, image=False, imagePath=path)).problems
        assert "is not in the folder, nor in imageData" in problem


def test_the_embedded_image_is_taken_where_the_file_is_missing(tmp_path: Path) -> None:
    dataset = load(write(tmp_path, SQUARE, image=False, imageData=png(IMAGE)))
    assert np.array_equal(dataset[0].image, IMAGE)
    assert "image not in the folder, taken from imageData: 1 image" in dataset.notes


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (shape([[2, 3], [7, 3]]), "three points"),
        (shape([[2, 3]], "rectangle"), "a rectangle of 1 points"),
        (shape([[90, 90], [95, 90], [95, 95]]), "far outside"),
        (shape([[30, 3], [35, 3], [35, 9]]), "no pixel of the image"),
        (shape([[2, 3], [7, 8]], "cube"), "polygon, rectangle, circle and mask are read"),
        (shape([[2, 3], [7, 8]], "mask"), "without its pixels"),
        (shape([[2, 3], [7, 8]], "mask", mask="&&"), "not base64"),
        (shape([[2, 3], [7, 8]], "mask", mask=png(np.ones((3, 3), np.uint8))), "the image is 3x3"),
        (shape([[2, 3], [4, 5]], "mask", mask=png(np.zeros((3, 3), np.uint8))), "an empty mask"),
        (shape("points"), "not a list of points"),
    ],
)
def test_a_bad_shape_is_one_line_and_the_others_stay(tmp_path: Path, bad: Any, words: str) -> None:
    source = write(tmp_path, SQUARE, bad)
    (problem,) = check(source).problems
    assert problem.startswith("x.json: shapes[1]: ")
    assert words in problem
    assert load(source, skip_bad=True).cells == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"shapes": None}, 'no list "shapes"'),
        ({"shapes": [{"points": []}]}, "shapes[0] has no label"),
        ({"imageHeight": 24, "imageWidth": 20}, "x.png: the image is 20x24 (height x width), its annotation 24x20"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, more: Any, words: str) -> None:
    (problem,) = check(write(tmp_path, SQUARE, **more)).problems
    assert problem.startswith("x.json: ")
    assert words in problem


def test_two_files_of_one_image_are_told(tmp_path: Path) -> None:
    source = write(tmp_path, SQUARE)
    (tmp_path / "y.json").write_bytes((tmp_path / "x.json").read_bytes())
    assert check(source).problems == ("y.json: x.json annotates the same image",)


def test_labels_that_number_their_objects_are_one_class(tmp_path: Path) -> None:
    squares = [shape([[x, 3], [x + 4, 3], [x + 4, 6], [x, 6]], label=f"cell-{x}") for x in (1, 7, 13)]
    dataset = load(write(tmp_path, *squares))
    assert (dataset.classes, dataset.cells) == (("cell",), 3)
    assert "labels that number their objects, taken without the number: cell-1 as cell, and so on" in dataset.notes


def test_numbered_labels_that_several_cells_have_are_classes(tmp_path: Path) -> None:
    stages = [shape([[x, 3], [x + 4, 3], [x + 4, 6], [x, 6]], label=f"stage{x // 6}") for x in (1, 7, 13, 19, 3)]
    assert load(write(tmp_path, *stages)).classes == ("stage0", "stage1", "stage2", "stage3")


def test_one_group_for_different_cells_is_told_with_its_cause(tmp_path: Path) -> None:
    places = [(1, 1), (8, 1), (15, 1), (1, 8), (8, 8), (15, 8)]
    squares = [shape([[x, y], [x + 4, y], [x + 4, y + 4], [x, y + 4]], group_id=1) for x, y in places]
    (problem,) = check(write(tmp_path, *squares)).problems
    assert "do different cells have one group_id?" in problem


@pytest.mark.parametrize("path", ["../images/x.png", "..\\images\\x.png", "x.png", "x.jpg"])
def test_annotations_may_be_in_a_folder_of_their_own(tmp_path: Path, path: str) -> None:
    write(tmp_path, SQUARE, imagePath=path)
    for name, file in (("images", "x.png"), ("json", "x.json")):
        (tmp_path / name).mkdir()
        (tmp_path / file).rename(tmp_path / name / file)
    dataset = load(f"labelme:{tmp_path}")
    assert (dataset.ids, dataset.cells, dataset.unlabelled) == (("x",), 1, ())
    with pytest.raises(HarnessError, match=f"it looks like labelme:{re.escape(str(tmp_path))}: type that"):
        load(str(tmp_path))


def test_outlines_of_a_larger_copy_of_the_image_are_told(tmp_path: Path) -> None:
    squares = [shape([[x, 1], [x + 8, 1], [x + 8, 6], [x, 6]]) for x in (1, 10, 20, 21, 22)]
    assert any("3 outlines reach far out of the image" in line for line in check(write(tmp_path, *squares)).problems)
