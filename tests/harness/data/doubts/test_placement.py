"""Masks are held against the pictures and the boxes that they should fit."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from label_scenes import polygons, scene, write
from numpy.typing import NDArray

from harness.data.sources import check


def test_polygons_as_they_should_be_are_not_doubted(tmp_path: Path) -> None:
    found = check(polygons(tmp_path, lambda points, copy: points))
    assert not found.problems + found.notes


@pytest.mark.parametrize(
    ("change", "copies", "words"),
    [
        (lambda points, copy: points + copy, 2, "nearly the same mask as another one, as if drawn twice"),
        (lambda points, copy: points[:, ::-1], 1, "outlines reach far out of the image"),
        (lambda points, copy: points / 2, 1, "all cells lie in the upper left"),
    ],
    ids=["twice, moved by a pixel", "y before x", "of a smaller copy"],
)
def test_polygons_that_fit_ill_are_doubted_without_boxes(tmp_path: Path, change, copies: int, words: str) -> None:
    assert any(words in line for line in check(polygons(tmp_path, change, copies)).problems)


def row_runs(mask: NDArray, first: int) -> str:
    """Run lengths of a mask, row by row, counted from `first`; a row's end ends a run."""
    edges = [np.flatnonzero(np.diff(np.concatenate([[0], row, [0]]).astype(int))).reshape(-1, 2) for row in mask]
    width = mask.shape[1]
    return " ".join(f"{y * width + a + first} {b - a}" for y, row in enumerate(edges) for a, b in row.tolist())


def kaggle(folder: Path, first: int, move) -> str:
    """Kaggle's layout of move(scene), with run lengths that count pixels from `first`."""
    (folder / "train").mkdir(parents=True)
    lines = ["id,annotation,width,height,cell_type"]
    for k in range(4):
        image, labels = map(move, scene(k))
        cv2.imwrite(str(folder / "train" / f"i{k}.png"), image)
        lines += [f"i{k},{row_runs(labels == value, first)},80,64,astro" for value in np.unique(labels[labels > 0])]
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    return f"sartorius:{folder}"


COUNTED_FROM_0 = "do the run lengths count pixels from 0? This layout counts from 1"


def test_run_lengths_that_count_from_0_are_told_by_cells_that_go_around_the_edge(tmp_path: Path) -> None:
    def cut_at_left(pixels: NDArray) -> NDArray:
        rolled = np.roll(pixels, -12, axis=1)
        return np.where(np.arange(80) < 60, rolled, rolled.min()).astype(pixels.dtype)

    assert check(kaggle(tmp_path / "right", 1, cut_at_left)).problems == ()
    (problem,) = check(kaggle(tmp_path / "wrong", 0, cut_at_left)).problems
    assert "cells at the left edge that go on at the right edge" in problem
    assert problem.endswith(COUNTED_FROM_0)


def test_run_lengths_that_count_from_0_are_told_by_the_edges_in_the_pictures(tmp_path: Path) -> None:
    def inside(pixels: NDArray) -> NDArray:
        return np.pad(pixels[:, 8:-8], ((0, 0), (8, 8)), constant_values=pixels.min())

    assert check(kaggle(tmp_path / "right", 1, inside)).notes == ()
    found = check(kaggle(tmp_path / "wrong", 0, inside))
    assert found.problems == ()
    assert found.notes == (f"cells that lie one pixel too far left: on 4 images; {COUNTED_FROM_0}",)


def square_polygons(folder: Path, change) -> str:
    """Four scenes of 64 x 64 pixels as polygons, change(points)."""
    (folder / "i").mkdir()
    tables: dict = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cell"}]}
    for number in range(4):
        image, labels = (pixels[:, :64] for pixels in scene(number))
        cv2.imwrite(str(folder / "i" / f"x{number}.png"), image)
        tables["images"].append({"id": number, "file_name": f"x{number}.png", "height": 64, "width": 64})
        for value in np.unique(labels[labels > 0]):
            outline = cv2.findContours((labels == value).astype(np.uint8), 0, 1)[0][0].reshape(-1, 2) + 0.5
            if len(outline) > 2:
                shape = [change(outline).ravel().tolist()]
                tables["annotations"].append({"image_id": number, "category_id": 1, "segmentation": shape})
    (folder / "a.json").write_text(json.dumps(tables))
    return f"coco:{folder / 'a.json'},{folder / 'i'}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda points: points[:, ::-1], "with x and y exchanged"),
        (lambda points: points * (1, -1) + (0, 64), "upside down"),
        (lambda points: points * (-1, 1) + (64, 0), "mirrored"),
        (lambda points: points[:, ::-1] * (-1, 1) + (64, 0), "turned by 90 degrees to the left"),
    ],
)
def test_masks_that_fit_a_turned_picture_are_told_with_image_and_cause(tmp_path: Path, change, words: str) -> None:
    (problem,) = check(square_polygons(tmp_path, change)).problems
    assert problem.startswith(f"x0: the cells fit the picture {words}, and not as they are (so too on 3 more images")
    assert "is the order of coordinates y, x" in problem


def test_masks_that_fit_their_square_pictures_are_not_doubted(tmp_path: Path) -> None:
    found = check(square_polygons(tmp_path, lambda points: points))
    assert not found.problems + found.notes


def test_labels_saved_under_the_name_of_another_image_are_told_with_that_image(tmp_path: Path) -> None:
    source = write(tmp_path, lambda image, labels: labels, tuple(range(8)))
    for number, other in ((2, 5), (5, 2)):
        cv2.imwrite(str(tmp_path / "l" / f"x{number}.png"), scene(other)[1])
    (problem,) = check(source).problems
    assert problem.startswith("x2: the cells fit the image x5 and not this one (so too on 1 more image of 8)")


def test_labels_of_other_pictures_are_a_note(tmp_path: Path) -> None:
    source = write(tmp_path, lambda image, labels: labels)
    for number in range(4):
        cv2.imwrite(str(tmp_path / "l" / f"x{number}.png"), scene(number + 50)[1])
    found = check(source)
    assert found.problems == ()
    (note,) = found.notes
    assert "the cells fit their pictures no better than if they lay elsewhere on them: 4 images (x0 for one)" in note
    assert "do the labels belong to other images" in note
