"""Point supervision: a box and ten points an object instead of a mask (Cheng et al. 2022, METHODS section 5)."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.contract import Instances, Task
from methods.pointsup import PointSupOptions
from methods.shared.mask_heads import MaskField
from methods.shared.supervision import MaskTargets, plus_penalty

ANNOTATOR_SEED = 12345
"""The seed of the published point annotations."""


class Points:
    """Draws `points` points a box once, and trains on `points_per_step` of them in each step.

    After `labels` the instances hold no masks, so nothing on the training path can read one.
    """

    needs_masks = False

    def __init__(self, points: int, points_per_step: int) -> None:
        self.points, self.points_per_step = points, points_per_step

    def labels(self, instances: Instances, rng: np.random.Generator) -> Instances:
        """Uniform whole pixels of each box, labelled by the mask, as continuous coordinates (+ 0.5); no masks.

        `rng` is left alone: the points are the data set's annotation. They hang on the image's own boxes and the
        annotator's seed, so every method and every seed of a run sees the same ones.
        """
        masks = instances.masks
        if masks is None:
            raise ValueError("points are labelled by masks, and these instances have none")
        # the crops of `masks` are addressed through their own boxes
        corner = masks.boxes[:, None, :2].astype(np.int64)
        extent = masks.boxes[:, None, 2:].astype(np.int64) - corner
        annotator = np.random.default_rng([ANNOTATOR_SEED, zlib.crc32(np.ascontiguousarray(masks.boxes).tobytes())])
        inside_box = annotator.integers(0, np.broadcast_to(extent, (len(masks), self.points, 2)))
        where = masks.offsets[:-1, None] + inside_box[..., 1] * extent[..., 0] + inside_box[..., 0]
        return replace(
            instances,
            masks=None,
            points=(corner + inside_box + 0.5).astype(np.float32),
            point_labels=masks.pixels[where].astype(np.int8),
        )

    def loss(self, field: MaskField, targets: MaskTargets, classes: Tensor) -> Tensor:
        """Cross-entropy at a fresh choice of points; points outside the box weigh nothing but count in the mean."""
        points, labels = targets.annotated_points()
        chosen = torch.rand(labels.shape, device=labels.device).argsort(dim=1)[:, : self.points_per_step]
        points = points.gather(1, chosen[..., None].expand(-1, -1, 2))
        labels = labels.gather(1, chosen)
        corner, extent = targets.boxes[:, None, :2], (targets.boxes[:, 2:] - targets.boxes[:, :2])[:, None]
        relative = (points - corner) / extent
        used = ((relative >= 0) & (relative <= 1)).all(dim=2) & (labels >= 0)
        relative = torch.where(used[..., None], relative, 0.5)
        logits = field.at(relative, classes)
        used_weight = used.to(logits.dtype)
        losses = F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), weight=used_weight)
        return plus_penalty(losses, field)


def build(task: Task, options: PointSupOptions) -> Points:
    return Points(options.points, options.points_per_step)
