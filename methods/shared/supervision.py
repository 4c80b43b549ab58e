"""Which labels the mask loss may see: the two halves of the supervision slot.

`labels` is the annotator: it runs once per training image, on arrays, before anything else sees the image, and is
where masks are taken away. `loss` is the teacher: it runs in every step, on tensors.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from torch import Tensor

from harness.contract import Instances, Task
from methods.shared.mask_heads import MaskField


class MaskTargets(Protocol):
    """The labels of R matched boxes, as the engine hands them to the loss. Boxes are in the same pixels as labels."""

    boxes: Tensor
    """(R, 4) float, x0 y0 x1 y1: the boxes whose logits the field holds."""

    def masks_on_grid(self, size: int) -> Tensor:
        """(R, size, size) float in [0, 1]: each matched mask averaged over the cells of a grid on its box."""
        ...

    def masks_at(self, points: Tensor) -> Tensor:
        """(R, P) float in [0, 1]: the matched masks, bilinear, at (R, P, 2) points in box coordinates."""
        ...

    def annotated_points(self) -> tuple[Tensor, Tensor]:
        """(R, P, 2) points in image pixels and (R, P) labels: 1 inside, 0 outside, -1 not to be used."""
        ...


class Supervision(Protocol):
    """What fills the supervision slot. needs_masks: False where training must not see masks at all."""

    needs_masks: bool

    def labels(self, instances: Instances, rng: np.random.Generator) -> Instances:
        """What the annotator would have drawn; the only reader of full masks where needs_masks is False."""
        ...

    def loss(self, field: MaskField, targets: MaskTargets, classes: Tensor) -> Tensor:
        """Scalar mask loss of R >= 1 boxes; classes is (R,) int64. With R = 0 the engine gives zero itself."""
        ...


class FullMasks:
    """The usual supervision: every pixel of every mask, read as the mask head's own paper reads them."""

    needs_masks = True

    def labels(self, instances: Instances, rng: np.random.Generator) -> Instances:
        return instances

    def loss(self, field: MaskField, targets: MaskTargets, classes: Tensor) -> Tensor:
        return plus_penalty(field.full_mask_loss(targets, classes), field)


def build(task: Task) -> FullMasks:
    """Fills the supervision slot of the baseline."""
    return FullMasks()


def plus_penalty(loss: Tensor, field: MaskField) -> Tensor:
    """The loss with the head's own penalty, where it has one."""
    penalty = field.penalty()
    return loss if penalty is None else loss + penalty
