"""Peers of Copy-Paste that hold every cell as an H x W plane: one written here, and the package segpaste.

The dense one does what public implementations of the paper on top of a transform library do: a plane per cell, the
union of the chosen planes as alpha, a Gaussian of it for the image, every plane of the image below cut, boxes taken
anew from the planes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Sample


@dataclass(frozen=True)
class Dense:
    """image: (H, W) uint8. planes: (N, H, W) uint8 of 0 and 1. boxes: (N, 4). labels: (N,)."""

    image: NDArray[np.uint8]
    planes: NDArray[np.uint8]
    boxes: NDArray[np.int64]
    labels: NDArray[np.int64]

    @staticmethod
    def of(sample: Sample) -> Dense:
        instances = sample.instances
        assert instances.masks is not None
        planes = instances.masks.planes(*sample.size)
        return Dense(sample.image, planes, instances.boxes.astype(np.int64), instances.labels)


def dense_copy_paste(
    below: Dense, above: Dense, share: float, sigma: float, rng: np.random.Generator, min_visible: float = 0.2
) -> Dense:
    """Copy-Paste on planes, with the occlusion rule of methods.copy_paste.transform."""
    from scipy import ndimage

    chosen = rng.choice(len(above.planes), int(len(above.planes) * share), replace=False)
    pasted = above.planes[chosen]
    alpha = pasted.any(axis=0)
    soft = ndimage.gaussian_filter(alpha.astype(np.float32), sigma, mode="nearest")
    image = np.rint(below.image * (1 - soft) + above.image * soft).astype(np.uint8)
    cut = below.planes & ~alpha
    area = below.planes.sum(axis=(1, 2))
    visible = cut.sum(axis=(1, 2))
    stays = (visible == area) | ((visible >= 4) & (visible >= min_visible * area))
    planes = np.concatenate([cut[stays], pasted])
    boxes = np.array([box_of_plane(plane) for plane in planes]).reshape(-1, 4)
    return Dense(image, planes, boxes, np.concatenate([below.labels[stays], above.labels[chosen]]))


def box_of_plane(plane: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    rows, cols = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    return int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1


def segpaste_target(sample: Dense) -> Any:
    """The sample as the package takes it: float tensors, a plane per cell."""
    import torch
    from segpaste import DetectionTarget

    return DetectionTarget(
        image=torch.tensor(sample.image)[None].float() / 255,
        boxes=torch.from_numpy(sample.boxes).float(),
        labels=torch.tensor(sample.labels),
        masks=torch.from_numpy(sample.planes).float(),
    )


def segpaste_objects(target: Any) -> list[Any]:
    """Each cell as a target of its own, as the package's collator hands them over."""
    from segpaste import DetectionTarget

    return [
        DetectionTarget(
            image=target.image,
            boxes=target.boxes[i : i + 1],
            labels=target.labels[i : i + 1],
            masks=target.masks[i : i + 1],
        )
        for i in range(len(target.boxes))
    ]
