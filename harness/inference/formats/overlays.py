"""Overlays: one PNG per image, with the outline of every cell in the colour of its class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.contract import Predictions
from harness.fileio import make_folder, write_bytes_atomic
from harness.inference.formats.label_images import label_image
from harness.inference.formats.writer import PredictedImage

COLOURS = np.asarray(
    [(240, 228, 66), (86, 180, 233), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0)], np.uint8
)
"""RGB by class, in turn: the colours of Okabe and Ito (for colour-blind readers) that show on grey."""


class Overlays:
    """`FOLDER/<image id>.png`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.written: set[str] = set()
        make_folder(folder)

    def add(self, predicted: PredictedImage) -> None:
        if predicted.image is None:
            return
        name = f"{predicted.image_id}.png"
        self.written.add(name)
        import cv2

        picture = outlined(predicted.image, predicted.predictions)
        _, png = cv2.imencode(".png", picture[..., ::-1])
        write_bytes_atomic(self._folder / name, png.tobytes())

    def finish(self) -> Path:
        return self._folder


def outlined(image: NDArray[np.uint8], predictions: Predictions) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: the image, grey or RGB, with the outermost pixels of each of the disjoint cells coloured."""
    picture = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image.copy()
    labels = label_image(predictions)
    edge = np.zeros(labels.shape, np.bool_)
    for axis in (0, 1):
        differs = np.diff(labels.astype(np.int64), axis=axis) != 0
        before, behind = ([slice(None)] * 2 for _ in range(2))
        before[axis], behind[axis] = slice(None, -1), slice(1, None)
        edge[tuple(before)] |= differs
        edge[tuple(behind)] |= differs
    edge &= labels > 0
    picture[edge] = COLOURS[predictions.labels[labels[edge].astype(np.int64) - 1] % len(COLOURS)]
    return picture
