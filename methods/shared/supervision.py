"""The supervision slot: which labels the mask loss may see.

`labels` plays the annotator. It runs once for each training image, on arrays, before anything else sees the image, and
may remove the masks. `loss` is the mask loss. It runs in every step, on tensors.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.contract import Instances, Task
from methods.shared.mask_heads import MaskField


class MaskTargets(Protocol):
    """The labels of R matched boxes, as the engine passes them to the loss. Boxes are in pixels of the image."""

    boxes: Tensor
    """(R, 4) float, x0 y0 x1 y1: the boxes of the mask field."""

    @property
    def has_masks(self) -> bool:
        """Whether the first three methods can be called; else the labels are points."""
        ...

    def masks_on_grid(self, size: int) -> Tensor:
        """(R, size, size) float in [0, 1]: each matched mask averaged over the bins of a grid on its box."""
        ...

    def occluders_on_grid(self, size: int, min_iou: float) -> Tensor:
        """(R, size, size) float in [0, 1]: the neighbours of the matched instances on the same grids.

        Neighbours are instances of the image whose boxes have an IoU above `min_iou` with the matched one's.
        """
        ...

    def masks_at(self, points: Tensor) -> Tensor:
        """(R, P) float in [0, 1]: the matched masks, interpolated, at (R, P, 2) points in box coordinates."""
        ...

    def annotated_points(self) -> tuple[Tensor, Tensor]:
        """(R, P, 2) points in image pixels and (R, P) labels: 1 inside, 0 outside, -1 to ignore."""
        ...


class Supervision(Protocol):
    """What fills the supervision slot.

    One that learns from images without labels too has a method `learner(context)` (see `harness.contract.Learner`).

    Attributes:
        needs_masks: Whether training sees masks at all.
    """

    needs_masks: bool

    def labels(self, instances: Instances, rng: np.random.Generator) -> Instances:
        """What the annotator would have drawn. Where needs_masks is False, only this method reads full masks."""
        ...

    def loss(self, field: MaskField, targets: MaskTargets, classes: Tensor) -> Tensor:
        """Scalar mask loss of R >= 1 boxes; classes is (R,) int64. Without boxes, the engine does not call it."""
        ...


class FullMasks:
    """The usual supervision: every pixel of every mask, by the loss of the mask head's own paper."""

    needs_masks = True

    def labels(self, instances: Instances, rng: np.random.Generator) -> Instances:
        return instances

    def loss(self, field: MaskField, targets: MaskTargets, classes: Tensor) -> Tensor:
        return add_penalty(field.full_mask_loss(targets, classes), field)


def build(task: Task) -> FullMasks:
    """The supervision of the baseline."""
    return FullMasks()


def add_penalty(loss: Tensor, field: MaskField) -> Tensor:
    """The loss plus the penalty of the head, if it has one."""
    penalty = field.penalty()
    return loss if penalty is None else loss + penalty


def point_loss(field: MaskField, boxes: Tensor, points: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
    """Mean cross-entropy of R fields at P points of each. Points outside the box weigh nothing, but count in the mean.

    Source: detectron2 `projects/PointSup/point_sup/mask_head.py`.

    Args:
        field: Of the boxes.
        boxes: (R, 4), x0 y0 x1 y1 in pixels of the image.
        points: (R, P, 2) in pixels of the image.
        labels: (R, P): 1 inside, 0 outside, -1 to ignore.
        classes: (R,) int64.
    """
    corner, extent = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
    relative = (points - corner) / extent
    valid = ((relative >= 0) & (relative <= 1)).all(dim=2) & (labels >= 0)
    relative = torch.where(valid[..., None], relative, 0.5)
    logits = field.at(relative, classes)
    weight = valid.to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), weight=weight)
