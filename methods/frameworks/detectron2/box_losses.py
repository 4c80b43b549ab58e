"""What a box's network should have answered, and what it loses where it did not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def encode_boxes(boxes: Tensor, targets: Tensor, weights: Sequence[float]) -> Tensor:
    """(..., 4) float32: how far the centre of each target lies from its box's, in the box's sides, and the logarithms
    of how much larger its sides are, each times its weight (Girshick et al. 2014, appendix C)."""
    side, target_side = boxes[..., 2:] - boxes[..., :2], targets[..., 2:] - targets[..., :2]
    shift = (targets[..., :2] + targets[..., 2:] - boxes[..., :2] - boxes[..., 2:]) / 2 / side
    offsets = torch.cat([shift, (target_side / side).log()], dim=-1)
    # one by one: a tensor of the weights would be a copy that a GPU is waited for
    return torch.stack([column * weight for column, weight in zip(offsets.unbind(-1), weights, strict=True)], dim=-1)


def box_regression_loss(
    given: Tensor, boxes: Tensor, targets: Tensor, counted: Tensor, weights: Sequence[float]
) -> Tensor:
    """Sum of the absolute errors of (..., 4) given offsets over the boxes that are counted."""
    # where nothing is counted the target may be no box at all
    wanted = torch.where(counted[..., None], encode_boxes(boxes, targets, weights), 0.0)
    return ((given.float() - wanted).abs() * counted[..., None]).sum()
