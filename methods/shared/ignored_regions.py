"""Which boxes lie where annotations say nothing: they are trained neither as an object nor as background."""

from __future__ import annotations

import torch
from torch import Tensor

INSIDE = 0.5
"""A box with at least this fraction of its area inside a region is ignored (mmdetection's `ignore_iof_thr`)."""

CHUNK = 16
"""Regions of each image that are compared with all boxes at once."""


def lies_in_region(regions: Tensor, boxes: Tensor, low: float) -> Tensor:
    """Which boxes are not background, since they lie in an ignored region or would match it if it were an instance.

    Args:
        regions: (B, R, 4) boxes of the regions of B images, x0 y0 x1 y1. Boxes of no area are padding.
        boxes: (A, 4), the same for all images, or (B, A, 4).
        low: The IoU with an instance from which on a box is not background.

    Returns:
        (B, A) bool.
    """
    x0, y0, x1, y1 = (boxes if boxes.dim() == 2 else boxes[:, None]).unbind(-1)
    area = (x1 - x0) * (y1 - y0)
    found = torch.zeros((len(regions), boxes.shape[-2]), dtype=torch.bool, device=boxes.device)
    for chunk in regions.split(CHUNK, dim=1):
        left, top, right, bottom = chunk[..., None].unbind(2)
        shared = (torch.minimum(x1, right) - torch.maximum(x0, left)).clamp_(min=0)
        shared *= (torch.minimum(y1, bottom) - torch.maximum(y0, top)).clamp_(min=0)
        union = area + (right - left) * (bottom - top) - shared
        found |= ((shared > 0) & ((shared >= INSIDE * area) | (shared >= low * union))).any(dim=1)
    return found
