"""Box regression targets and loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def encode_boxes(boxes: Tensor, targets: Tensor, weights: Sequence[float]) -> Tensor:
    """Deltas that turn boxes into targets (Girshick et al. 2014, appendix C; detectron2 `Box2BoxTransform.get_deltas`).

    Args:
        boxes: (..., 4) x0 y0 x1 y1.
        targets: (..., 4) x0 y0 x1 y1.
        weights: Of dx, dy, dw and dh.

    Returns:
        (..., 4) dx dy dw dh: shift of the centre over the side of the box, and logarithm of the ratio of the sides.
    """
    side, target_side = boxes[..., 2:] - boxes[..., :2], targets[..., 2:] - targets[..., :2]
    shift = (targets[..., :2] + targets[..., 2:] - boxes[..., :2] - boxes[..., 2:]) / 2 / side
    deltas = torch.cat([shift, (target_side / side).log()], dim=-1)
    # one column at a time, because a tensor of weights would be a copy to the GPU
    return torch.stack([column * weight for column, weight in zip(deltas.unbind(-1), weights, strict=True)], dim=-1)


def box_regression_loss(
    deltas: Tensor, boxes: Tensor, targets: Tensor, positive: Tensor, weights: Sequence[float]
) -> Tensor:
    """Sum of absolute errors of predicted deltas over positive boxes (Girshick 2015, section 2.3, with L1).

    Args:
        deltas: (..., 4) predicted.
        boxes: (..., 4) x0 y0 x1 y1.
        targets: (..., 4) x0 y0 x1 y1; need not be boxes where `positive` is False.
        positive: (...) bool.
        weights: Of dx, dy, dw and dh.
    """
    target_deltas = torch.where(positive[..., None], encode_boxes(boxes, targets, weights), 0.0)
    return ((deltas.float() - target_deltas).abs() * positive[..., None]).sum()
