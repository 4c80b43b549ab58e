"""The method copy_paste: its part builds at each size, with the paper's parameters."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from harness.contract import Instances, Sample, Task
from harness.masks.crops import CropMasks
from methods.copy_paste import METHOD, CopyPasteOptions
from methods.copy_paste.transform import Paste

TASK = Task(("a",), (0, 0, 0), (1, 1, 1), crop=64, max_cells=30, max_size=(90, 120))


@pytest.mark.parametrize(("size", "jitter"), [("small", (0.8, 1.25)), ("full", (0.5, 2.0))])
def test_parameters_of_the_paper_and_jitter_by_size(size, jitter) -> None:
    window, _, paste = METHOD.parts["augment"].sized(size).build(TASK)
    assert (window.min_scale, window.max_scale) == jitter
    assert paste == Paste(CopyPasteOptions(min_scale=jitter[0], max_scale=jitter[1]))
    options = paste.options
    assert (options.p, options.pct_objects_paste, options.blend, options.sigma) == (1.0, 0.5, True, 1.0)
    assert options.max_paste_objects is None


def test_it_fills_the_augment_slot_alone_and_its_card_is_full() -> None:
    assert set(METHOD.parts) == {"augment"}
    card = METHOD.card
    assert (card.year, card.venue) == (2021, "CVPR")
    assert card.departures
    assert card.published


def test_listing_it_loads_no_framework() -> None:
    heavy = "{'torch', 'cv2', 'scipy', 'pandas'} & set(sys.modules)"
    code = f"import sys, methods.copy_paste, methods.geometric; print({heavy} or '')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_crop_gains_cells_of_the_other_image() -> None:
    """The chain as the harness runs it: the other sample goes through the steps before the paste."""
    y, x = np.mgrid[:90, :120]

    def discs(grey: int, radius: int) -> Sample:
        planes = np.array(
            [(x - cx) ** 2 + (y - cy) ** 2 < radius**2 for cx in range(8, 120, 16) for cy in (15, 45, 75)]
        )
        image = np.where(planes.any(axis=0), grey, 10).astype(np.uint8)
        masks = CropMasks.from_planes(planes)
        return Sample(str(grey), image, Instances.of_masks(masks, np.zeros(len(masks), int)))

    class Chain:
        def draw(self, rng: np.random.Generator, cell_type: str | None = None) -> Sample:
            return through(discs(250, 6), chain[:-1], rng)

    def through(sample: Sample, steps, rng: np.random.Generator) -> Sample:
        for step in steps:
            sample = step(sample, rng, Chain())
        return sample

    chain = METHOD.parts["augment"].with_options(blend=False, min_scale=1.0, max_scale=1.0).build(TASK)
    result = through(discs(100, 3), chain, np.random.default_rng(0))
    assert result.size == (64, 64)
    bright = result.image == 250
    new = [
        i for i, crop in enumerate(result.instances.masks) if (result.image[box_of(result, i)][crop != 0] == 250).all()
    ]
    assert len(new) >= 3
    np.testing.assert_array_equal(result.instances.masks.select(np.array(new)).planes(64, 64).any(axis=0), bright)


def box_of(sample: Sample, i: int) -> tuple[slice, slice]:
    x0, y0, x1, y1 = sample.instances.boxes[i].tolist()
    return np.s_[y0:y1, x0:x1]
