"""Finds masks that were given for one image and fit another far better: files that were swapped or misnamed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.contract import Predictions
from harness.evaluation.ground_truth import GroundTruths
from harness.masks.crops import CropMasks
from harness.masks.label_image import paint_labels

GRID = 48
"""Sides of the grid on which foregrounds are compared."""

MARGIN = 0.3
"""By how much the correlation with another image must be higher than with its own."""

MINIMUM = 0.5
"""Correlation with the other image from which on it counts."""


def swapped_images(found: Mapping[str, Predictions], truth: GroundTruths) -> list[tuple[str, str]]:
    """(image, the image that its masks fit far better), of images of one size.

    Foregrounds are averaged on a coarse grid and correlated. Cells that a method finds badly still correlate with
    their own image more than with another one.
    """
    by_size: dict[tuple[int, int], list[str]] = defaultdict(list)
    for image_id, predictions in found.items():
        by_size[predictions.size].append(image_id)
    suspects = []
    for size, ids in by_size.items():
        if len(ids) < 2:
            continue
        given = np.stack([_coarse(found[i].masks, size) for i in ids])
        wanted = np.stack([_coarse(truth[i].cells, size) for i in ids])
        fit = given @ wanted.T
        best = fit.argmax(axis=1)
        own = fit.diagonal()
        for i in np.flatnonzero((fit.max(axis=1) > own + MARGIN) & (fit.max(axis=1) > MINIMUM)).tolist():
            suspects.append((ids[i], ids[int(best[i])]))
    return suspects


def _coarse(masks: CropMasks, size: tuple[int, int]) -> NDArray[np.float64]:
    """The share of foreground in each field of a grid, as a vector of mean 0 and length 1; zeros where it is even."""
    foreground = (paint_labels(masks, size) > 0).astype(np.float64)
    rows = np.linspace(0, size[0], min(GRID, size[0]) + 1).astype(np.int64)[:-1]
    columns = np.linspace(0, size[1], min(GRID, size[1]) + 1).astype(np.int64)[:-1]
    sums = np.add.reduceat(np.add.reduceat(foreground, rows, axis=0), columns, axis=1)
    counts = np.outer(np.diff(np.append(rows, size[0])), np.diff(np.append(columns, size[1])))
    flat = (sums / counts).ravel()
    flat -= flat.mean()
    length = float(np.linalg.norm(flat))
    return flat / length if length > 0 else flat
