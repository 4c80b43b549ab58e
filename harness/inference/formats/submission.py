"""Kaggle's submission file: `id,predicted`, one row a mask.

A mask is "start length start length ...", pixels counted from 1, left to right and then down. Masks of an image do not
overlap; an image without cells has one row with an empty prediction.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from harness.fileio import make_folder, write_text_atomic
from harness.inference.formats.writer import PredictedImage
from harness.masks.crops import CropMasks


class Submission:
    """Rows by image, in the order they come, and within an image by score."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = io.StringIO()
        self._rows = csv.writer(self._text, lineterminator="\n")
        self._rows.writerow(("id", "predicted"))
        make_folder(path.parent)

    def add(self, predicted: PredictedImage) -> None:
        found = predicted.predictions
        texts = run_length_pairs(found.masks, found.size[1])
        self._rows.writerows((predicted.image_id, text) for text in texts or [""])

    def finish(self) -> Path:
        write_text_atomic(self._path, self._text.getvalue())
        return self._path


def run_length_pairs(masks: CropMasks, width: int) -> list[str]:
    """Kaggle's text of each mask in an image of that width; the inverse of harness.masks.run_lengths.masks_of_pairs."""
    index, owner = masks.set_pixels(width)
    begins = np.ones(len(index), np.bool_)
    begins[1:] = (np.diff(index) != 1) | (np.diff(owner) != 0)
    first = np.flatnonzero(begins)
    lengths = np.diff(np.append(first, len(index)))
    pairs = np.stack([index[first] + 1, lengths], axis=1)
    ends = np.cumsum(np.bincount(owner[first], minlength=len(masks)))
    return [" ".join(map(str, runs.ravel().tolist())) for runs in np.split(pairs, ends)[: len(masks)]]
