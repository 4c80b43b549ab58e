"""From a label image to a sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.contract import Instances, Sample
from harness.data.images import read_image, read_noted_labels
from harness.data.source import Loaded
from harness.errors import HarnessError, one_line
from harness.masks.crops import CropMasks, label_boxes
from harness.masks.run_lengths import MAX_COVER

ALL_NUMBERS, NEARLY_ALL = 255, 250
"""The largest number that 8 bits can hold, and how many labels there are where hardly one is left over."""


def load_pair(image_id: str, image_path: Path, label_path: Path, group: str | None = None) -> Loaded:
    """An image file and the label image that belongs to it; all cells are of one class."""
    try:
        pixels, notes = read_image(image_path)
    except HarnessError as error:
        return Loaded(None, (f"{one_line(image_path.name)}: {error}",))
    try:
        labels, more = read_noted_labels(label_path, pixels.shape[:2])
        cells = cells_of(labels)
    except HarnessError as error:
        return Loaded(None, (f"{one_line(label_path.name)}: {error}",))
    used_up = labels.dtype == np.uint8 and labels.max(initial=0) == ALL_NUMBERS and len(cells) >= NEARLY_ALL
    sample = sample_of(image_id, pixels, cells, group)
    return Loaded(sample, (), (*notes, *more), numbers_used_up=bool(used_up))


def sample_of(image_id: str, pixels: NDArray[np.uint8], masks: CropMasks, group: str | None = None) -> Sample:
    """A sample whose cells are all of the one class "cell"."""
    cells = Instances.of_masks(masks, np.zeros(len(masks), np.int64))
    return Sample(image_id, pixels, cells, "cell" if len(cells) else None, group)


def cells_of(labels: NDArray[np.integer]) -> CropMasks:
    """One mask for each number but 0.

    Raises:
        HarnessError: where the boxes together are out of proportion to the image, as of noise taken for labels.
    """
    if labels.max(initial=0) > MAX_COVER:  # fewer labels cannot be out of proportion
        boxes, values = label_boxes(labels)
        if int((boxes[:, 3] - boxes[:, 1]).sum(dtype=np.int64)) > MAX_COVER * labels.shape[0]:
            raise HarnessError(
                f"its {len(values)} labels are scattered over the whole image: not a label image of cells"
            )
    return CropMasks.from_label_image(labels)[0]
