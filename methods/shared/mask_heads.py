"""What a mask head is to the engines: boxes on a feature pyramid in, a field of mask logits out.

A field can be read as a regular grid (dense targets, inference) or at any points (point supervision), so that every
head meets every supervision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from methods.shared.supervision import MaskTargets


class MaskField(Protocol):
    """Mask logits of R boxes. `classes` is (R,) int64 and ignored by class-agnostic heads."""

    def grid(self, classes: Tensor) -> Tensor:
        """(R, S, S) logits at the centres of an S x S grid over each box."""
        ...

    def at(self, points: Tensor, classes: Tensor) -> Tensor:
        """(R, P) logits at (R, P, 2) points, x y in box coordinates, 0 and 1 at the box's edges."""
        ...

    def full_mask_loss(self, targets: MaskTargets, classes: Tensor) -> Tensor:
        """Scalar loss against full masks, as the head's own paper takes it; without the penalty."""
        ...

    def penalty(self) -> Tensor | None:
        """A scalar the head adds to its loss under any supervision, or None."""
        ...


class MaskHead(nn.Module):
    """Base of every mask head.

    trains_on: "proposals" (the positive ones) or "ground_truth" (the annotated boxes alone).
    max_train_boxes: most boxes of one image that the mask loss sees in a step, drawn at random; None for all.
    jitter: with "ground_truth", each side of a box moves by up to this fraction of the box; 0 by default.
    """

    trains_on: Literal["proposals", "ground_truth"] = "proposals"
    max_train_boxes: int | None = None
    jitter: float = 0.0

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> MaskField:
        """features: one (B, C, h, w) map per stride, fine to coarse. boxes: B tensors (R_b, 4), x0 y0 x1 y1 in input
        pixels. The field holds the R = sum R_b boxes, image after image."""
        raise NotImplementedError


class DenseField:
    """A field held as (R, K, S, S) logits; K = 1 where the head knows no classes."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    def _of_class(self, classes: Tensor) -> Tensor:
        if self.logits.shape[1] == 1:
            return self.logits[:, 0]
        return self.logits[torch.arange(len(self.logits), device=self.logits.device), classes]

    def grid(self, classes: Tensor) -> Tensor:
        return self._of_class(classes)

    def at(self, points: Tensor, classes: Tensor) -> Tensor:
        """Bilinear between cell centres, zero logits outside the grid (PointSup, METHODS section 5)."""
        picked = self._of_class(classes)[:, None]
        sampled = F.grid_sample(
            picked, points[:, None] * 2 - 1, mode="bilinear", padding_mode="zeros", align_corners=False
        )
        return sampled[:, 0, 0]

    def full_mask_loss(self, targets: MaskTargets, classes: Tensor) -> Tensor:
        """Mean cross-entropy; a cell of the grid is inside where at least half of it is (METHODS section 1)."""
        logits = self.grid(classes)
        inside = targets.masks_on_grid(logits.shape[-1]) >= 0.5
        return F.binary_cross_entropy_with_logits(logits, inside.to(logits.dtype))

    def penalty(self) -> Tensor | None:
        return None
