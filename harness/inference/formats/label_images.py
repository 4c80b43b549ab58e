"""Label images: one TIFF per image, in which the pixels of every cell have their own number."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from harness.contract import Predictions
from harness.fileio import make_folder, write_bytes_atomic
from harness.inference.formats.writer import PredictedImage
from harness.masks.label_image import paint_labels

TILE = 512
"""Sides of a tile of a large label image, in pixels."""

BIGTIFF_BYTES = 2**32 - 2**25
"""Bytes of pixels from which on a TIFF file needs 64-bit offsets."""


class LabelImages:
    """`FOLDER/<image id>.tif`: the layout StarDist and `folder:IMAGES_DIR,LABELS_DIR` read.

    An image that was predicted in tiles gets a tiled file of uint32.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.written: set[str] = set()
        make_folder(folder)

    def add(self, predicted: PredictedImage) -> None:
        name = f"{predicted.image_id}.tif"
        self.written.add(name)
        import tifffile

        buffer = io.BytesIO()
        if predicted.image is None:
            write_in_tiles(buffer, predicted.predictions)
        else:
            tifffile.imwrite(buffer, label_image(predicted.predictions), compression="zlib")
        write_bytes_atomic(self._folder / name, buffer.getbuffer())

    def finish(self) -> Path:
        return self._folder


def write_in_tiles(file: BinaryIO, predictions: Predictions) -> None:
    """A label image of any size as a tiled TIFF of uint32, painted strip by strip."""
    import tifffile

    height, width = predictions.size
    tifffile.imwrite(
        file,
        _tiles(predictions),
        shape=(height, width),
        dtype=np.uint32,
        tile=(TILE, TILE),
        compression="zlib",
        bigtiff=4 * height * width > BIGTIFF_BYTES,
    )


def _tiles(predictions: Predictions) -> Iterator[NDArray[np.uint32]]:
    """Tiles of the label image, row by row; the last ones are filled up with 0."""
    height, width = predictions.size
    boxes = predictions.masks.boxes
    across = -(-width // TILE)
    for top in range(0, height, TILE):
        strip = np.zeros((TILE, across * TILE), np.uint32)
        for i in np.flatnonzero((boxes[:, 1] < top + TILE) & (boxes[:, 3] > top)).tolist():
            x0, y0, x1, y1 = boxes[i].tolist()
            begin, end = max(y0, top), min(y1, top + TILE)
            crop = predictions.masks.crop(i)[begin - y0 : end - y0].view(np.bool_)
            strip[begin - top : end - top, x0:x1][crop] = i + 1
        for left in range(0, across * TILE, TILE):
            yield np.ascontiguousarray(strip[:, left : left + TILE])


def label_image(predictions: Predictions) -> NDArray[np.unsignedinteger[Any]]:
    """(H, W): 0 where there is no cell, k + 1 where mask k of disjoint predictions is. uint32 beyond 65,535 cells."""
    return paint_labels(predictions.masks, predictions.size)
