"""Small data sets on disk, written as the real tools write them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError

COLUMNS = ["id", "annotation", "width", "height", "cell_type"]
COLUMNS += ["plate_time", "sample_date", "sample_id", "elapsed_timedelta"]


def assert_one_line(error: HarnessError) -> None:
    """A refusal is one line of text that a screen can show."""
    assert str(error).isprintable()
    assert str(error)


PICTURE = np.arange(120, dtype=np.uint8).reshape(10, 12)
"""An image of 10 x 12, not blank."""


def pairs_text(mask: NDArray) -> str:
    """Kaggle's run lengths of a plane, pixel by pixel: the plain way that the fast one is held to."""
    runs: list[list[int]] = []
    for i, inside in enumerate(mask.ravel().tolist(), start=1):
        if inside and runs and sum(runs[-1]) == i:
            runs[-1][1] += 1
        elif inside:
            runs.append([i, 1])
    return " ".join(f"{start} {length}" for start, length in runs)


def kaggle_row(image_id: str, annotation: str, **more: Any) -> dict[str, Any]:
    row = {"id": image_id, "annotation": annotation, "width": 12, "height": 10, "cell_type": "cort", **more}
    return {column: row.get(column, "") for column in COLUMNS}


def write_kaggle(folder: Path, rows: list[dict[str, Any]], images: dict[str, NDArray] | None = None) -> str:
    """A folder in Kaggle's layout; images default to PICTURE. Gives the source."""
    (folder / "train").mkdir(parents=True, exist_ok=True)
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    for image_id in {row["id"] for row in rows}:
        image = (images or {}).get(image_id, PICTURE)
        cv2.imwrite(str(folder / "train" / f"{image_id}.png"), image)
    return f"sartorius:{folder}"


def coco_tables(annotations: list[dict[str, Any]], file_names: tuple[str, ...] = ("a.png",)) -> dict[str, Any]:
    """Tables of 10 x 12 images with ids from 1 on."""
    images = [{"id": i, "file_name": n, "height": 10, "width": 12} for i, n in enumerate(file_names, start=1)]
    return {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "nucleus"}]}


def annotation(number: int, segmentation: Any, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": 1, "category_id": 7, "iscrowd": 0, "segmentation": segmentation, **more}


def write_coco(folder: Path, tables: Any) -> str:
    """ANN.json and images/ with PICTURE for every good file name. Gives the source."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "ann.json").write_text(json.dumps(tables))
    for image in tables["images"]:
        path = folder / "images" / image["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), PICTURE)
    return f"coco:{folder / 'ann.json'},{folder / 'images'}"


SQUARE = [[2, 3, 6, 3, 6, 7, 2, 7]]
GOOD = annotation(1, SQUARE)
