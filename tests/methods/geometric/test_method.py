"""The method geometric: its part builds at each size and bends crops without tearing cells."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from harness.contract import Instances, Sample, Task
from harness.masks.crops import CropMasks
from methods.geometric import METHOD

TASK = Task(("a",), (0, 0, 0), (1, 1, 1), crop=64, max_cells=30, max_size=(90, 120))


def test_it_fills_the_augment_slot_alone_and_its_card_is_full() -> None:
    assert set(METHOD.parts) == {"augment"}
    assert METHOD.card.departures


@pytest.mark.parametrize("size", ["small", "full"])
def test_most_crops_are_bent_and_no_cell_is_torn(size) -> None:
    y, x = np.mgrid[:90, :120]
    planes = np.array([(x - cx) ** 2 + (y - cy) ** 2 < 36 for cx in range(32, 96, 16) for cy in (30, 45, 60)])
    masks = CropMasks.from_planes(planes)
    image = np.where(planes.any(axis=0), 200, 50).astype(np.uint8)
    cells = Sample("discs", image, Instances.of_masks(masks, np.zeros(len(masks), int)))
    *_, bend = METHOD.parts["augment"].sized(size).build(TASK)
    rng = np.random.default_rng(0)
    bent = 0
    for _ in range(60):
        after = bend(cells, rng, None)
        bent += after is not cells
        assert len(after.instances) == len(masks)
        for crop in after.instances.masks:
            assert ndimage.label(crop, np.ones((3, 3)))[1] == 1
        seen = after.instances.masks.planes(90, 120).any(axis=0)
        assert (seen != (after.image > 125)).mean() < 0.02
    assert 0.55 < bent / 60 < 0.95
