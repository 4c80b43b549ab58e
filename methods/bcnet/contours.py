"""The contour of a mask on a grid: two bins wide, one on either side of the edge."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def contours(masks: Tensor) -> Tensor:
    """(R, S, S) bool: where dilation and erosion of (R, S, S) bool masks by a cross of 3x3 differ.

    What lies beyond the grid is background for the dilation and foreground for the erosion, so that a mask has no
    contour where the grid cuts it. Source: `lkeab/BCNet`, `detectron2/layers/boundary.py`.
    """
    dilated, eroded = F.pad(masks, (1, 1, 1, 1), value=False), F.pad(masks, (1, 1, 1, 1), value=True)
    return _neighbours(dilated).any(dim=0) != _neighbours(eroded).all(dim=0)


def _neighbours(padded: Tensor) -> Tensor:
    """(5, R, S, S): the value of each bin and of the four beside it, of masks with one bin more on each side."""
    middle = slice(1, -1)
    shifted = ((middle, middle), (slice(0, -2), middle), (slice(2, None), middle), (middle, slice(0, -2)))
    return torch.stack([padded[:, y, x] for y, x in (*shifted, (middle, slice(2, None)))])
