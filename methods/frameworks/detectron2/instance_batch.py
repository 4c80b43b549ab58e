"""The annotated cells of a batch of images as tensors of one shape, so that a step never has to ask how many."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.contract import Instances, Sample
from methods.shared.device_transfer import to_device
from methods.shared.torch_masks import TorchMasks


@dataclass(frozen=True)
class InstanceBatch:
    """The N cells of B images. What is matched with boxes has M places for each image, the first of them taken.

    boxes: (B, M, 4) float32, x0 y0 x1 y1 in pixels of the network's input; zeros in a place that is not taken.
    classes: (B, M) int64. taken: (B, M) bool. counts: cells of each image.
    boxes_on_host, labels_on_host: (N, 4) and (N,), the boxes and classes again.
    masks, points (N, P, 2), point_labels (N, P): in pixels of the labels, as far as the supervision left them.
    """

    boxes: Tensor
    classes: Tensor
    taken: Tensor
    counts: list[int]
    boxes_on_host: Tensor
    labels_on_host: Tensor
    masks: TorchMasks | None
    points: Tensor | None
    point_labels: Tensor | None

    @staticmethod
    def of(samples: Sequence[Sample], scale: float, device: torch.device) -> InstanceBatch:
        """scale: pixels of the network's input for one of the image. Regions of crowds are left out."""
        cells = [_without_crowd(sample.instances) for sample in samples]
        counts = [len(one) for one in cells]
        boxes = np.concatenate([one.boxes for one in cells]).astype(np.float32) * np.float32(scale)
        labels = np.concatenate([one.labels for one in cells])
        taken = np.arange(max(1, *counts)) < np.array(counts)[:, None]
        places = np.zeros((*taken.shape, 4), np.float32), np.zeros(taken.shape, np.int64)
        places[0][taken], places[1][taken] = boxes, labels

        masks = [one.masks for one in cells if one.masks is not None]
        # an image without cells may lack the arrays of points that all others have
        points = [one.points for one in cells if one.points is not None]
        point_labels = [one.point_labels for one in cells if one.point_labels is not None]
        return InstanceBatch(
            boxes=to_device(places[0], device),
            classes=to_device(places[1], device),
            taken=to_device(taken, device),
            counts=counts,
            boxes_on_host=torch.from_numpy(boxes),
            labels_on_host=torch.from_numpy(labels),
            masks=TorchMasks.of_images(masks, [s.size for s in samples], device) if len(masks) == len(cells) else None,
            points=to_device(np.concatenate(points), device) if points else None,
            point_labels=to_device(np.concatenate(point_labels), device) if point_labels else None,
        )

    @property
    def first(self) -> list[int]:
        """The number of each image's first cell among all N."""
        return [0, *itertools.accumulate(self.counts[:-1])]

    def drawn(self, most: int | None) -> list[Tensor]:
        """Numbers among all N, on the host, of up to `most` cells of each image, drawn at random; None for all."""
        chosen = []
        for count, first in zip(self.counts, self.first, strict=True):
            numbers = torch.arange(count) if most is None or count <= most else torch.randperm(count)[:most]
            chosen.append(first + numbers)
        return chosen


def _without_crowd(cells: Instances) -> Instances:
    return cells if cells.crowd is None or not cells.crowd.any() else cells.select(~cells.crowd)
