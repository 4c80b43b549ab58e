"""Elastic deformation: smooth random displacements (Simard et al., ICDAR 2003).

Drawn on a coarse grid and interpolated bicubically, as in U-Net (Ronneberger et al., MICCAI 2015), which is quicker
than smoothing noise at full size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Elastic:
    """Random displacements of grid nodes, cut off at two standard deviations.

    strength: standard deviation as a fraction of the spacing. Above 0.15 the field can fold over and tear cells.
    spacing: between nodes, in pixels.
    """

    strength: float
    spacing: int

    def __call__(self, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
        import cv2

        height, width = size
        nodes = -(-height // self.spacing) + 1, -(-width // self.spacing) + 1
        coarse = rng.standard_normal((*nodes, 2), dtype=np.float32).clip(-2, 2) * (self.strength * self.spacing)
        whole = (nodes[1] * self.spacing, nodes[0] * self.spacing)
        fine = cv2.resize(coarse, whole, interpolation=cv2.INTER_CUBIC)
        # half a spacing is cut off, so that the interpolation at the rim has nodes on both sides
        start = self.spacing // 2
        return np.ascontiguousarray(fine[start : start + height, start : start + width], np.float32)
