"""What goes wrong in exports, and is told: numbers that ran out, regions among cells, pictures that are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from label_scenes import polygons, scene, write
from numpy.typing import NDArray

from harness.data.sources import check


def crowd(folder: Path, change: Callable[[NDArray[np.uint16]], NDArray], cells: int = 300) -> str:
    """Three images with cells in rows, numbered from 1 on."""
    for name in ("i", "l"):
        (folder / name).mkdir()
    block = np.pad(np.ones((5, 5), np.uint16), ((2, 1), (2, 1)))
    numbers = np.arange(1, 301, dtype=np.uint16).reshape(15, 20)
    labels = np.kron(np.where(numbers <= cells, numbers, 0).astype(np.uint16), block)
    for k in range(3):
        noise = np.random.default_rng(k).normal(60, 8, labels.shape)
        cv2.imwrite(str(folder / "i" / f"x{k}.png"), (noise + 90 * (labels > 0)).clip(0, 255).astype(np.uint8))
        cv2.imwrite(str(folder / "l" / f"x{k}.png"), change(labels))
    return f"folder:{folder / 'i'},{folder / 'l'}"


@pytest.mark.parametrize(
    "to_8_bits", [lambda labels: labels.astype(np.uint8), lambda labels: labels.clip(0, 255).astype(np.uint8)]
)
def test_more_cells_than_8_bits_can_number_are_told(tmp_path: Path, to_8_bits: Callable[..., NDArray]) -> None:
    (problem,) = check(crowd(tmp_path, to_8_bits)).problems
    assert problem.startswith("x0: the labels of 255 cells use up the numbers of 8 bits (so too on 2 more images of 3)")
    assert problem.endswith("were there more cells than that? Save the labels with 16 bits")


def test_as_many_cells_with_16_bits_or_fewer_with_8_are_fine(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    assert check(crowd(tmp_path / "more", lambda labels: labels)).problems == ()
    (tmp_path / "fewer").mkdir()
    assert check(crowd(tmp_path / "fewer", lambda labels: labels.astype(np.uint8), 200)).problems == ()


def with_more(source: str, change: Callable[[dict], None]) -> str:
    """The COCO source with its tables changed."""
    file = Path(source.partition(":")[2].partition(",")[0])
    tables = json.loads(file.read_text("utf-8"))
    change(tables)
    file.write_text(json.dumps(tables))
    return source


def test_a_region_around_the_cells_is_told(tmp_path: Path) -> None:
    def add(tables: dict) -> None:
        region = [[1, 1, 79, 1, 79, 63, 1, 63]]
        tables["annotations"] += [{"image_id": k, "category_id": 1, "segmentation": region} for k in range(4)]

    (problem,) = check(with_more(polygons(tmp_path, lambda points, copy: points), add)).problems
    assert problem.startswith("x0: one cell lies around 6 of 6 others (so too on 3 more images of 4); is it a region")


def test_a_large_cell_beside_others_is_no_region(tmp_path: Path) -> None:
    def add(tables: dict) -> None:
        beside = [[1, 1, 79, 1, 79, 2.2, 1, 2.2]]
        tables["annotations"] += [{"image_id": k, "category_id": 1, "segmentation": beside} for k in range(4)]

    assert check(with_more(polygons(tmp_path, lambda points, copy: points), add)).problems == ()


def test_a_class_for_each_cell_is_told(tmp_path: Path) -> None:
    def number(tables: dict) -> None:
        for i, row in enumerate(tables["annotations"]):
            row["category_id"] = i % 6 + 1
        tables["categories"] = [{"id": i, "name": f"cell_{i}"} for i in range(1, 7)]

    (problem,) = check(with_more(polygons(tmp_path, lambda points, copy: points), number)).problems
    assert "no two cells of any image are of one class; the classes are cell_1, cell_2, cell_3" in problem
    assert "Give all cells one class" in problem


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (lambda image, labels: np.zeros_like(image), "the image is of one grey level and has 6 cells"),
        (lambda image, labels: ((labels > 0) * 200).astype(np.uint8), "each cell has one grey level"),
        (lambda image, labels: (labels * 20).astype(np.uint8), "each cell has one grey level"),
    ],
    ids=["blank", "a mask", "the labels"],
)
def test_pictures_that_show_no_cells_are_told(tmp_path: Path, picture: Callable[..., NDArray], words: str) -> None:
    source = write(tmp_path, lambda image, labels: labels)
    cv2.imwrite(str(tmp_path / "i" / "x1.png"), picture(*scene(1)))
    (problem,) = check(source).problems
    assert problem.startswith(f"x1: {words}")


def test_images_without_cells_are_counted(tmp_path: Path) -> None:
    source = write(tmp_path, lambda image, labels: labels, (0, 1, 2, 3, 4, 5))
    cv2.imwrite(str(tmp_path / "l" / "x3.png"), np.zeros((64, 80), np.uint8))
    assert check(source).notes == ("images without a cell: 1 of 6 (x3 for one)",)
    cv2.imwrite(str(tmp_path / "l" / "x4.png"), np.zeros((64, 80), np.uint8))
    (note,) = check(source).notes
    assert note.startswith("images without a cell: 2 of 6 (x3 for one); those that are not annotated yet do harm")
