"""Label images: one TIFF per image, in which the pixels of every cell have their own number."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Predictions
from harness.fileio import make_folder, write_bytes_atomic
from harness.inference.formats.writer import PredictedImage
from harness.masks.label_image import paint_labels


class LabelImages:
    """`FOLDER/<image id>.tif`: the layout StarDist and `folder:IMAGES_DIR,LABELS_DIR` read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.written: set[str] = set()
        make_folder(folder)

    def add(self, predicted: PredictedImage) -> None:
        name = f"{predicted.image_id}.tif"
        self.written.add(name)
        import tifffile

        buffer = io.BytesIO()
        tifffile.imwrite(buffer, label_image(predicted.predictions), compression="zlib")
        write_bytes_atomic(self._folder / name, buffer.getbuffer())

    def finish(self) -> Path:
        return self._folder


def label_image(predictions: Predictions) -> NDArray[np.unsignedinteger[Any]]:
    """(H, W): 0 where there is no cell, k + 1 where mask k of disjoint predictions is. uint32 beyond 65,535 cells."""
    return paint_labels(predictions.masks, predictions.size)
