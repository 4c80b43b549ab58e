"""The annotated instances of a batch as padded tensors, so that a training step never asks a GPU for their number."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.contract import Instances, Sample
from methods.shared.device_transfer import to_device
from methods.shared.neighbours import Neighbourhood
from methods.shared.torch_masks import TorchMasks


@dataclass(frozen=True)
class InstanceBatch:
    """The N annotated instances of B images. Tensors that boxes are matched with are padded to M instances an image.

    Attributes:
        boxes: (B, M, 4) float32, x0 y0 x1 y1 in pixels of the network's input; zeros in the padding.
        classes: (B, M) int64.
        valid: (B, M) bool, False in the padding.
        counts: Instances of each image; they sum to N.
        host_boxes, host_classes: (N, 4) and (N,), boxes and classes on the host, image after image.
        masks: N masks in pixels of the images, or None where the supervision removed them.
        points, point_labels: (N, P, 2) in pixels of the images, and (N, P); None where there are none.
        scale: Pixels of the network's input for one pixel of the images.
        ignored: (B, R, 4) boxes of the crowd regions as `boxes`, or None where no image has one.
    """

    boxes: Tensor
    classes: Tensor
    valid: Tensor
    counts: list[int]
    host_boxes: Tensor
    host_classes: Tensor
    masks: TorchMasks | None
    points: Tensor | None
    point_labels: Tensor | None
    scale: float = 1.0
    ignored: Tensor | None = None

    @staticmethod
    def from_samples(samples: Sequence[Sample], scale: float, device: torch.device) -> InstanceBatch:
        """The instances of `samples`. Crowd regions are not among them but in `ignored`.

        scale: pixels of the network's input for one pixel of the image.
        """
        images = [_without_crowd(sample.instances) for sample in samples]
        counts = [len(instances) for instances in images]
        host_boxes = np.concatenate([x.boxes for x in images]).astype(np.float32) * np.float32(scale)
        host_classes = np.concatenate([x.labels for x in images])
        valid = np.arange(max(1, *counts)) < np.array(counts)[:, None]
        boxes, classes = np.zeros((*valid.shape, 4), np.float32), np.zeros(valid.shape, np.int64)
        boxes[valid], classes[valid] = host_boxes, host_classes

        masks = [x.masks for x in images if x.masks is not None]
        # an image without instances may lack the arrays of points that the others have
        points = [x.points for x in images if x.points is not None]
        point_labels = [x.point_labels for x in images if x.point_labels is not None]
        sizes = [sample.size for sample in samples]
        return InstanceBatch(
            boxes=to_device(boxes, device),
            classes=to_device(classes, device),
            valid=to_device(valid, device),
            counts=counts,
            host_boxes=torch.from_numpy(host_boxes),
            host_classes=torch.from_numpy(host_classes),
            masks=TorchMasks.from_images(masks, sizes, device) if len(masks) == len(images) else None,
            points=to_device(np.concatenate(points), device) if points else None,
            point_labels=to_device(np.concatenate(point_labels), device) if point_labels else None,
            scale=scale,
            ignored=_crowd_boxes(samples, scale, device),
        )

    @property
    def first_indices(self) -> list[int]:
        """The index of each image's first instance among all N."""
        return [0, *itertools.accumulate(self.counts[:-1])]

    def neighbourhood(self, matched: Tensor) -> Neighbourhood | None:
        """The instances around those that training boxes are matched with; None without masks. matched: on the host."""
        if self.masks is None:
            return None
        return Neighbourhood(self.masks, self.host_boxes, self.counts, matched)

    def sample_indices(self, max_per_image: int | None) -> list[Tensor]:
        """For each image, indices among all N of up to `max_per_image` random instances, on the host; None for all."""
        sampled = []
        for count, first in zip(self.counts, self.first_indices, strict=True):
            everything = max_per_image is None or count <= max_per_image
            indices = torch.arange(count) if everything else torch.randperm(count)[:max_per_image]
            sampled.append(first + indices)
        return sampled


def _crowd_boxes(samples: Sequence[Sample], scale: float, device: torch.device) -> Tensor | None:
    instances = [sample.instances for sample in samples]
    found = [x.boxes[:0] if x.crowd is None else x.boxes[x.crowd] for x in instances]
    most = max(map(len, found))
    if not most:
        return None
    boxes = np.zeros((len(found), most, 4), np.float32)
    for row, of_image in zip(boxes, found, strict=True):
        row[: len(of_image)] = of_image * np.float32(scale)
    return to_device(boxes, device)


def _without_crowd(instances: Instances) -> Instances:
    if instances.crowd is None or not instances.crowd.any():
        return instances
    return instances.select(~instances.crowd)
