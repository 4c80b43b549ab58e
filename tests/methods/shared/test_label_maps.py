"""Label maps of cells that overlap."""

from __future__ import annotations

import numpy as np

from harness.contract import Instances
from harness.masks.crops import CropMasks
from methods.shared.label_maps import label_map


def test_the_smaller_cell_keeps_the_pixels_and_crowds_are_left_out() -> None:
    masks = CropMasks.from_crops(
        [(2, 2, 4, 4), (0, 0, 4, 4), (5, 0, 6, 5)], [np.ones((2, 2)), np.ones((4, 4)), np.ones((5, 1))]
    )
    cells = Instances.of_masks(masks, np.zeros(3), crowd=np.asarray([False, False, True]))
    expected = np.zeros((5, 6), np.int32)
    expected[:4, :4] = 2
    expected[2:4, 2:4] = 1
    assert (label_map(cells, (5, 6)) == expected).all()
