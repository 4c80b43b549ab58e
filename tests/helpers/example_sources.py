"""A small good data set of every built-in kind of source, written as the real tools write it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

NAMES = ("a", "b", "c")
HEIGHT, WIDTH = 48, 64


def scene(number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """A grey image with two bright ellipses, and its label image."""
    rng = np.random.default_rng(number)
    labels = np.zeros((HEIGHT, WIDTH), np.uint16)
    for value, (x, y) in enumerate(((16, 14), (44, 30)), start=1):
        axes = (int(rng.integers(7, 10)), int(rng.integers(5, 8)))
        cv2.ellipse(labels, (x, y), axes, int(rng.integers(0, 90)), 0, 360, value, -1)
    image = rng.normal(60, 6, labels.shape) + 90 * (labels > 0)
    return image.clip(0, 255).astype(np.uint8), labels


def outlines(labels: NDArray[np.uint16]) -> list[list[tuple[int, int]]]:
    """The (x, y) points around each label."""
    found = []
    for value in range(1, int(labels.max()) + 1):
        contours, _ = cv2.findContours((labels == value).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        found.append([(int(x), int(y)) for x, y in max(contours, key=len)[:, 0]])
    return found


def write_images(folder: Path, suffix: str = ".png") -> dict[str, NDArray[np.uint16]]:
    """The images into a folder; the label images by name."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = {}
    for number, name in enumerate(NAMES):
        image, labels[name] = scene(number)
        if suffix == ".tif":
            tifffile.imwrite(folder / f"{name}.tif", image)
        else:
            cv2.imwrite(str(folder / f"{name}{suffix}"), image)
    return labels


def synthetic(folder: Path) -> str:
    return "synthetic:images=3,size=64"


def sartorius(folder: Path) -> str:
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "annotation", "width", "height", "cell_type"))
        for name, labels in write_images(folder / "train").items():
            for value in (1, 2):
                flat = np.concatenate([[0], (labels == value).ravel(), [0]]).astype(np.int8)
                edges = np.flatnonzero(np.diff(flat)).reshape(-1, 2)
                text = " ".join(f"{start + 1} {stop - start}" for start, stop in edges.tolist())
                writer.writerow((name, text, WIDTH, HEIGHT, "astro"))
    return f"sartorius:{folder}"


def coco(folder: Path) -> str:
    images, annotations = [], []
    for number, (name, labels) in enumerate(write_images(folder / "images").items()):
        images.append({"id": number, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH})
        for points in outlines(labels):
            flat = [float(value) for point in points for value in point]
            row = {"id": len(annotations), "image_id": number, "category_id": 1, "iscrowd": 0, "segmentation": [flat]}
            annotations.append(row)
    tables = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}
    (folder / "annotations.json").write_text(json.dumps(tables))
    return f"coco:{folder / 'annotations.json'},{folder / 'images'}"


def label_folder(folder: Path) -> str:
    (folder / "labels").mkdir()
    for name, labels in write_images(folder / "images").items():
        tifffile.imwrite(folder / "labels" / f"{name}_masks.tif", labels)
    return f"folder:{folder / 'images'},{folder / 'labels'}"


def nested(folder: Path) -> str:
    for name, labels in write_images(folder / "one" / "images").items():
        (folder / "one" / "masks").mkdir(exist_ok=True)
        tifffile.imwrite(folder / "one" / "masks" / f"{name}.tif", labels)
    return f"nested:{folder},{folder}"


EXAMPLES: dict[str, Callable[[Path], str]] = {
    "synthetic": synthetic,
    "sartorius": sartorius,
    "coco": coco,
    "folder": label_folder,
    "nested": nested,
}
"""Name of a source to a function that writes a data set into an empty folder and gives what to type."""
