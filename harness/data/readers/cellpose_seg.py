"""Cellpose's *_seg.npy files beside images, as its GUI and `masks_flows_to_seg` write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.data.beside import BesideImages, beside_images, read_bytes
from harness.data.images import whole_labels
from harness.data.label_images import cells_of, sample_of
from harness.data.npy_pickle import StoredArray, read_object_npy
from harness.data.source import Loaded
from harness.errors import HarnessError


class CellposeSeg(BesideImages):
    """x_seg.npy holds a pickled dict, whose "masks" are a label image of the image x. Nothing else of it is used."""

    usage = "cellpose:DIR"
    files = "*_seg.npy"

    @staticmethod
    def is_annotation(path: Path) -> bool:
        return path.name.endswith("_seg.npy")

    def read(self, image_id: str, pixels: NDArray[np.uint8], path: Path, classes: tuple[str, ...]) -> Loaded:
        labels = _masks(read_object_npy(read_bytes(path)))
        if labels.shape != pixels.shape[:2]:
            height, width = pixels.shape[:2]
            shape = "x".join(map(str, labels.shape))
            raise HarnessError(f"its masks are {shape} (height x width), the image is {height}x{width}")
        whole, notes = whole_labels(labels)
        return Loaded(sample_of(image_id, pixels, cells_of(whole)), (), notes)


def _masks(saved: object) -> NDArray:
    masks = saved.get("masks") if isinstance(saved, dict) else None
    if not isinstance(masks, StoredArray):
        raise HarnessError('no dict with an array "masks": is it a file of cellpose?')
    labels = masks.array()
    while labels.ndim > 2 and labels.shape[0] == 1:
        labels = labels[0]
    if labels.ndim != 2:
        raise HarnessError(f"its masks have the shape {labels.shape}: masks of a stack; only flat images are read")
    return labels


SOURCE = beside_images("cellpose", CellposeSeg, "cellpose's *_seg.npy beside images")
