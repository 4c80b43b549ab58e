from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from harness.data.sources import check, load

IMAGE = np.full((10, 12, 4), 255, np.uint8)
IMAGE[..., :3] = np.arange(120, dtype=np.uint8).reshape(10, 12, 1)


def mask(*boxes: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    plane = np.zeros((10, 12), np.uint8)
    for x0, y0, x1, y1 in boxes:
        plane[y0:y1, x0:x1] = 255
    return plane


def write(folder: Path, name: str = "a1", **masks: NDArray[np.uint8]) -> str:
    for sub in ("images", "masks"):
        (folder / name / sub).mkdir(parents=True)
    cv2.imwrite(str(folder / name / "images" / f"{name}.png"), IMAGE)
    for file, plane in masks.items():
        cv2.imwrite(str(folder / name / "masks" / f"{file}.png"), plane)
    return f"dsb2018:{folder}"


def test_each_file_is_a_nucleus_and_overlaps_and_parts_stay(tmp_path: Path) -> None:
    dataset = load(write(tmp_path, a=mask((1, 1, 5, 4)), b=mask((3, 2, 8, 6)), c=mask((9, 0, 10, 2), (9, 8, 12, 10))))
    sample = dataset[0]
    assert (dataset.ids, dataset.classes) == (("a1",), ("nucleus",))
    assert sample.image.shape == (10, 12)
    assert sample.instances.boxes.tolist() == [[1, 1, 5, 4], [3, 2, 8, 6], [9, 0, 12, 10]]
    assert sample.instances.masks is not None
    assert sample.instances.masks.areas().tolist() == [12, 20, 8]


def test_more_masks_than_the_limit_of_boxes_allows_for_whole_planes(tmp_path: Path) -> None:
    masks = {f"m{i:03}": mask((i % 12, i // 12 % 10, i % 12 + 1, i // 12 % 10 + 1)) for i in range(400)}
    assert load(write(tmp_path, **masks)).cells == 400


def test_a_folder_without_masks_is_unlabelled(tmp_path: Path) -> None:
    write(tmp_path, a=mask((1, 1, 5, 4)))
    dataset = load(write(tmp_path, "b2"))
    assert dataset.ids == ("a1",)
    assert [path.name for path in dataset.unlabelled] == ["b2.png"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (mask(), "an empty mask"),
        (mask((1, 1, 5, 4))[:-1], "the image is 9x12 (height x width), its annotation 10x12"),
        (np.dstack([mask((1, 1, 5, 4)), mask(), mask()]), "a label image has one channel"),
    ],
)
def test_a_bad_mask_is_one_line_and_the_others_stay(tmp_path: Path, bad: NDArray[np.uint8], words: str) -> None:
    source = write(tmp_path, a=mask((1, 1, 5, 4)), b=bad)
    (problem,) = check(source).problems
    assert problem.startswith("a1/masks/b.png: ")
    assert words in problem
    assert load(source, skip_bad=True).cells == 1


def test_a_folder_with_two_images_is_told(tmp_path: Path) -> None:
    source = write(tmp_path, a=mask((1, 1, 5, 4)))
    cv2.imwrite(str(tmp_path / "a1" / "images" / "other.png"), IMAGE)
    assert check(source).problems == ("a1/images: 2 images; there is one in a folder",)
