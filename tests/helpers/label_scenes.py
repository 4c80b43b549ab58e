"""Painted cells as label folders and COCO polygons, right or changed."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def scene(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """A grey image of 64 x 80 with six bright discs, and its label image."""
    rng, labels = np.random.default_rng(seed), np.zeros((64, 80), np.uint16)
    yy, xx = np.mgrid[:64, :80]
    while labels.max() < 6:
        radius = rng.integers(5, 9)
        y, x = rng.integers(radius, 64 - radius), rng.integers(radius, 80 - radius)
        disc = (yy - y) ** 2 + (xx - x) ** 2 <= radius**2
        if not labels[disc].any():
            labels[disc] = labels.max() + 1
    image = rng.normal(60, 8, labels.shape) + 90 * (labels > 0)
    return image.clip(0, 255).astype(np.uint8), labels


def write(folder: Path, change, scenes: tuple[int, ...] = (0, 1, 2, 3)) -> str:
    """Scenes whose label images are change(image, labels)."""
    for name in ("i", "l"):
        (folder / name).mkdir()
    for number, seed in enumerate(scenes):
        image, labels = scene(seed)
        cv2.imwrite(str(folder / "i" / f"x{number}.png"), image)
        cv2.imwrite(str(folder / "l" / f"x{number}.png"), change(image, labels))
    return f"folder:{folder / 'i'},{folder / 'l'}"


def polygons(folder: Path, change, copies: int = 1) -> str:
    """Four scenes as polygons, each moved by change(points, copy)."""
    (folder / "i").mkdir()
    tables: dict = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cell"}]}
    for number in range(4):
        image, labels = scene(number)
        cv2.imwrite(str(folder / "i" / f"x{number}.png"), image)
        tables["images"].append({"id": number, "file_name": f"x{number}.png", "height": 64, "width": 80})
        for value in range(1, labels.max() + 1):
            outline = cv2.findContours((labels == value).astype(np.uint8), 0, 1)[0][0].reshape(-1, 2) + 0.5
            for copy in range(copies):
                shape = [change(outline, copy).ravel().tolist()]
                tables["annotations"].append({"image_id": number, "category_id": 1, "segmentation": shape})
    (folder / "a.json").write_text(json.dumps(tables))
    return f"coco:{folder / 'a.json'},{folder / 'i'}"
