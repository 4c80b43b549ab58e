"""The interface between mask heads and engines: boxes on a feature pyramid in, a field of mask logits out.

A field can be read on a regular grid (dense targets, inference) or at any points (point supervision). So every mask
head works with every supervision.
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
    """Mask logits of R boxes. `classes` is (R,) int64; class-agnostic heads ignore it."""

    def grid(self, classes: Tensor) -> Tensor:
        """(R, S, S) logits at the centres of an S x S grid over each box."""
        ...

    def at(self, points: Tensor, classes: Tensor) -> Tensor:
        """(R, P) logits at (R, P, 2) points, x y in box coordinates: 0 and 1 are the edges of the box."""
        ...

    def full_mask_loss(self, targets: MaskTargets, classes: Tensor) -> Tensor:
        """Scalar loss against full masks as in the paper of the head, without the penalty."""
        ...

    def penalty(self) -> Tensor | None:
        """A scalar that the head adds to its loss under any supervision, or None."""
        ...


class MaskHead(nn.Module):
    """Base class of mask heads.

    Attributes:
        trains_on: The boxes of the mask loss: "proposals" (the positive ones) or "ground_truth" (annotated boxes only).
        max_train_boxes: Most boxes of one image in a training step, drawn at random. None means all.
        jitter: With "ground_truth", each side of a box moves by up to this fraction of the box. 0 by default.
    """

    trains_on: Literal["proposals", "ground_truth"] = "proposals"
    max_train_boxes: int | None = None
    jitter: float = 0.0

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> MaskField:
        """The mask field of the R = sum R_b boxes, image after image.

        Args:
            features: One (B, C, h, w) map for each stride, fine to coarse.
            boxes: B tensors (R_b, 4), x0 y0 x1 y1 in pixels of the network's input.
        """
        raise NotImplementedError


class DenseField:
    """A field stored as (R, K, S, S) logits. K = 1 for class-agnostic heads."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    def _select_class(self, classes: Tensor) -> Tensor:
        if self.logits.shape[1] == 1:
            return self.logits[:, 0]
        return self.logits[torch.arange(len(self.logits), device=self.logits.device), classes]

    def grid(self, classes: Tensor) -> Tensor:
        return self._select_class(classes)

    def at(self, points: Tensor, classes: Tensor) -> Tensor:
        """Bilinear between the centres of bins, zero outside the grid.

        Source: detectron2 `projects/PointSup/point_sup/mask_head.py`.
        """
        selected = self._select_class(classes)[:, None]
        sampled = F.grid_sample(
            selected, points[:, None] * 2 - 1, mode="bilinear", padding_mode="zeros", align_corners=False
        )
        return sampled[:, 0, 0]

    def full_mask_loss(self, targets: MaskTargets, classes: Tensor) -> Tensor:
        """Mean binary cross-entropy; a bin is inside where the mask covers at least half of it.

        Source: He et al. 2017, section 3; detectron2 `modeling/roi_heads/mask_head.py`, `mask_rcnn_loss`.
        """
        logits = self.grid(classes)
        inside = targets.masks_on_grid(logits.shape[-1]) >= 0.5
        return F.binary_cross_entropy_with_logits(logits, inside.to(logits.dtype))

    def penalty(self) -> Tensor | None:
        return None
