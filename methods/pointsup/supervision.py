"""Point supervision: a box and ten labelled points of each object instead of its mask.

Source: Cheng et al. 2022; detectron2 `projects/PointSup/`; docs/methods.md#pointsup.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from harness.contract import Instances, Task
from methods.pointsup import PointSupOptions
from methods.shared.mask_heads import MaskField
from methods.shared.supervision import MaskTargets, add_penalty, point_loss

ANNOTATOR_SEED = 12345
"""The seed of the published point annotations."""


class Points:
    """Annotates `points` points in each box once, and trains on `points_per_step` of them in each step.

    `labels` removes the masks, so that nothing on the training path can read one.
    """

    needs_masks = False

    def __init__(self, points: int, points_per_step: int) -> None:
        self.points, self.points_per_step = points, points_per_step

    def labels(self, instances: Instances, rng: np.random.Generator) -> Instances:
        """Replace masks by uniformly random pixels of each box and their labels.

        Points are centres of pixels (+ 0.5). They depend on the boxes of the image and ANNOTATOR_SEED, not on `rng`, so
        that every method and every seed of a run sees the same annotation.
        """
        masks = instances.masks
        if masks is None:
            raise ValueError("points are labelled by masks, and these instances have none")
        # crops begin at the corner of their own boxes, which may differ from the annotated ones
        corner = masks.boxes[:, None, :2].astype(np.int64)
        extent = masks.boxes[:, None, 2:].astype(np.int64) - corner
        annotator = np.random.default_rng([ANNOTATOR_SEED, zlib.crc32(np.ascontiguousarray(masks.boxes).tobytes())])
        inside_box = annotator.integers(0, np.broadcast_to(extent, (len(masks), self.points, 2)))
        index = masks.offsets[:-1, None] + inside_box[..., 1] * extent[..., 0] + inside_box[..., 0]
        return replace(
            instances,
            masks=None,
            points=(corner + inside_box + 0.5).astype(np.float32),
            point_labels=masks.pixels[index].astype(np.int8),
        )

    def loss(self, field: MaskField, targets: MaskTargets, classes: Tensor) -> Tensor:
        """Cross-entropy at a random subset of points. Points outside the box weigh nothing, but count in the mean."""
        points, labels = targets.annotated_points()
        sampled = torch.rand(labels.shape, device=labels.device).argsort(dim=1)[:, : self.points_per_step]
        points = points.gather(1, sampled[..., None].expand(-1, -1, 2))
        return add_penalty(point_loss(field, targets.boxes, points, labels.gather(1, sampled), classes), field)


def build(task: Task, options: PointSupOptions) -> Points:
    return Points(options.points, options.points_per_step)
