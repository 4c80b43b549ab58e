from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from harness.data.sources import check, load
from harness.errors import HarnessError

IMAGE = np.arange(20 * 40, dtype=np.uint16).reshape(20, 40).astype(np.uint8)
SQUARE = "0 0.1 0.2 0.3 0.2 0.3 0.5 0.1 0.5"
"""On 20 x 40 pixels: x from 4 to 12, y from 4 to 10."""


def write(
    folder: Path, rows: str, names: str | None = "names: [cell]\n", where: str = "images", to: str = "labels"
) -> str:
    for sub in (where, to):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / where / "x.png"), IMAGE)
    (folder / to / "x.txt").write_text(rows)
    if names is not None:
        (folder / "data.yaml").write_text(names)
    return f"yolo:{folder}"


def test_corners_are_shares_of_width_and_height(tmp_path: Path) -> None:
    sample = load(write(tmp_path, SQUARE))[0]
    assert sample.instances.boxes.tolist() == [[4, 4, 12, 10]]
    assert sample.instances.masks is not None
    assert sample.instances.masks.areas().tolist() == [48]


@pytest.mark.parametrize(
    ("where", "to", "image_id"),
    [
        ("images", "labels", "x"),
        ("images/train", "labels/train", "train/x"),
        ("train/images", "train/labels", "train/x"),
        (".", ".", "x"),
    ],
)
def test_every_usual_layout_is_read(tmp_path: Path, where: str, to: str, image_id: str) -> None:
    assert load(write(tmp_path, SQUARE, None, where, to)).ids == (image_id,)


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ("train: ../train/images\nnc: 2\nnames: ['a', 'b']\n", ("a", "b")),
        ("names:\n  0: a\n  1: b\n", ("a", "b")),
        ("names:\n- a\n- b\n", ("a", "b")),
        ("names: [1, 2]\n", ("1", "2")),
        (None, ("class 0", "class 1")),
    ],
)
def test_class_names(tmp_path: Path, names: str | None, classes: tuple[str, ...]) -> None:
    dataset = load(write(tmp_path, f"{SQUARE}\n1{SQUARE[1:]}\n", names))
    assert dataset.classes == classes
    assert dataset[0].instances.labels.tolist() == [0, 1]


def test_classes_txt_is_read_and_no_label_file(tmp_path: Path) -> None:
    source = write(tmp_path, SQUARE, None)
    (tmp_path / "labels" / "classes.txt").write_text("nucleus\n")
    (tmp_path / "classes.txt").write_text("nucleus\n")
    assert load(source).classes == ("nucleus",)


def test_one_class_without_names_is_the_cell(tmp_path: Path) -> None:
    assert load(write(tmp_path, SQUARE, None)).classes == ("cell",)


def test_an_empty_file_is_an_image_without_cells_and_none_is_unlabelled(tmp_path: Path) -> None:
    source = write(tmp_path, SQUARE)
    for name in ("y", "z"):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), IMAGE + 1)
    (tmp_path / "labels" / "y.txt").write_text("\n")
    dataset = load(source)
    assert (dataset.ids, dataset.cells_per_image) == (("x", "y"), (1, 0))
    assert [path.name for path in dataset.unlabelled] == ["z.png"]


def test_corners_a_little_outside_are_moved_to_the_edge(tmp_path: Path) -> None:
    assert load(write(tmp_path, "0 -0.005 0 0.5 0 0.5 1.005 0 1"))[0].instances.boxes.tolist() == [[0, 0, 20, 20]]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("0 0.5 0.5 0.1 0.1", "a box, not an outline"),
        ("0 0.5 0.5 0.1", "six numbers, are the least"),
        ("0 0.5 0.5 0.1 0.1 0.3 0.3 0.2", "an outline of 7 numbers"),
        ("1 0.1 0.1 0.2 0.1 0.2 0.2", "the class is '1'; there are 1, counted from 0"),
        ("cell 0.1 0.1 0.2 0.1 0.2 0.2", "the class is 'cell'"),
        ("-1 0.1 0.1 0.2 0.1 0.2 0.2", "the class is '-1'"),
        ("0 4 4 12 4 12 10", "shares of the image, 0 to 1; this outline holds 12"),
        ("0 0.1 0.1 0.2 x 0.2 0.2", "something other than numbers"),
        ("0 0.1 0.1 0.2 nan 0.2 0.2", "not finite"),
        ("0 0.1 0.1 0.1 0.1 0.1 0.1", "no pixel of the image"),
    ],
)
def test_a_bad_row_is_one_line_and_the_others_stay(tmp_path: Path, row: str, words: str) -> None:
    source = write(tmp_path, f"{SQUARE}\n{row}\n")
    (problem,) = check(source).problems
    assert problem.startswith("x.txt: line 2: ")
    assert words in problem
    assert load(source, skip_bad=True).cells == 1


@pytest.mark.parametrize(
    "names",
    [
        "names: 3\n",
        "a: [\n",
        "names: []\n",
        "names: [a, a]\n",
        "names:\n  1: a\n",
        f"names: [0x{'f' * 9999}]\n",
        "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60)) + "names: *a59\n",
        "names: !!python/object/apply:os.mkdir [x]\n",
    ],
)
def test_names_that_are_wrong_are_told(tmp_path: Path, names: str) -> None:
    with pytest.raises(HarnessError, match=r"data\.yaml"):
        load(write(tmp_path, SQUARE, names))


def test_a_file_without_an_image_is_told(tmp_path: Path) -> None:
    source = write(tmp_path, SQUARE)
    (tmp_path / "labels" / "y.txt").write_text(SQUARE)
    assert check(source).problems == ("y.txt: there is no image for these annotations",)


def test_folders_may_be_written_with_capitals(tmp_path: Path) -> None:
    source = write(tmp_path, "0 0.1 0.1 0.5 0.1 0.5 0.5")
    for name in ("images", "labels"):
        (tmp_path / name).rename(tmp_path / name.capitalize())
    assert load(source).cells == 1
