"""Small images with an exact number of cells, drawn as ellipses."""

from __future__ import annotations

import numpy as np

from harness.contract import Instances, Sample
from harness.masks.crops import CropMasks


def draw_sample(
    cells: int, size: tuple[int, int] = (64, 64), seed: int = 0, colour: bool = False, classes: int = 1
) -> Sample:
    """An image with bright ellipses on noise.

    Args:
        cells: How many. They may overlap. Their radii are 8 to 15 pixels.
        size: Height and width in pixels.
        seed: Of everything random.
        colour: Whether the image is RGB rather than grey.
        classes: The label of each cell is drawn from so many.
    """
    rng = np.random.default_rng([seed, cells, *size])
    height, width = size
    image = rng.normal(90, 6, size)
    boxes, crops = [], []
    for _ in range(cells):
        ry, rx = rng.integers(8, 16, 2)
        y0, x0 = int(rng.integers(0, height - 2)), int(rng.integers(0, width - 2))
        y1, x1 = min(y0 + 2 * ry + 1, height), min(x0 + 2 * rx + 1, width)
        y, x = np.mgrid[: y1 - y0, : x1 - x0]
        crop = ((y - ry) / ry) ** 2 + ((x - rx) / rx) ** 2 <= 1
        if not crop.any():
            crop[...] = True
        image[y0:y1, x0:x1][crop] = rng.normal(170, 6, int(crop.sum()))
        boxes.append((x0, y0, x1, y1))
        crops.append(crop)
    masks = CropMasks.from_crops(boxes, crops).tight()[0] if cells else CropMasks.empty()
    pixels = image.clip(0, 255).astype(np.uint8)
    if colour:
        pixels = np.stack([pixels, pixels // 2, 255 - pixels], axis=2)
    pixels.flags.writeable = False
    instances = Instances.of_masks(masks, rng.integers(0, classes, cells))
    return Sample(f"drawn-{seed}-{cells}", pixels, instances, cell_type="drawn")
