"""The truth of one image, as the scorer sees it: cells, crowd regions, cell type. No pixels of the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.contract import Predictions, Sample
from harness.errors import HarnessError
from harness.evaluation.mask_pixels import MaskPixels
from harness.masks.crops import CropMasks


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """size: height, width. cells: N masks that may overlap, with (N,) int64 labels. crowd: regions of many cells."""

    size: tuple[int, int]
    cells: CropMasks
    labels: NDArray[np.int64]
    crowd: CropMasks
    crowd_labels: NDArray[np.int64]
    cell_type: str | None = None

    @staticmethod
    def of(sample: Sample) -> GroundTruth:
        """Raises ValueError where the sample has no masks."""
        instances = sample.instances
        if instances.masks is None:
            raise ValueError(f"image {sample.image_id} has no masks to score against")
        crowd = np.zeros(len(instances), np.bool_) if instances.crowd is None else instances.crowd
        return GroundTruth(
            sample.size,
            instances.masks.select(~crowd),
            instances.labels[~crowd],
            instances.masks.select(crowd),
            instances.labels[crowd],
            sample.cell_type,
        )

    def pixels(self) -> TruthPixels:
        """The pixels of cells and crowd regions, as matching needs them."""
        width = self.size[1]
        cells, crowd = MaskPixels.of(self.cells, width), self.crowd.pixel_index(width)[0]
        return TruthPixels(cells, np.setdiff1d(crowd, cells.all()) if len(crowd) else crowd)


@dataclass(frozen=True, slots=True, eq=False)
class TruthPixels:
    """A truth made ready for matching: the cells' pixels, and (Q,) int64 indices that are crowd and no cell."""

    cells: MaskPixels
    crowd: NDArray[np.int64]


GroundTruths = Mapping[str, GroundTruth]
"""Image id to truth. May load each image when it is asked for: the scorer takes them one at a time."""


def check_pair(image_id: str, predictions: Predictions, truth: GroundTruth) -> None:
    """Raises HarnessError where the sizes differ."""
    if predictions.size != truth.size:
        raise HarnessError(
            f"image {image_id} is {truth.size[0]}x{truth.size[1]}, its predictions are for "
            f"{predictions.size[0]}x{predictions.size[1]}; were they made from other data?"
        )
