"""The cells that lie beside or over the cell of a training box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou

from methods.shared.device_transfer import tensor_to_device
from methods.shared.torch_masks import TorchMasks


@dataclass(frozen=True)
class Neighbourhood:
    """All N instances of a batch, and which of them each of R training boxes is matched with.

    Attributes:
        masks: Of the N instances.
        boxes: (N, 4) x0 y0 x1 y1 on the host, in pixels of any scale.
        counts: Instances of each image; they sum to N.
        matched: (R,) int64 on the host, the instance of each training box.
    """

    masks: TorchMasks
    boxes: Tensor
    counts: Sequence[int]
    matched: Tensor

    def pairs(self, min_iou: float) -> tuple[Tensor, Tensor]:
        """(P,) training boxes and (P,) instances, on the host: the other instances of the image whose boxes have an IoU
        above `min_iou` with that of the training box's own instance.
        """
        rows, others = [self.matched.new_zeros(0)], [self.matched.new_zeros(0)]
        first = 0
        for count, boxes in zip(self.counts, self.boxes.split(list(self.counts)), strict=True):
            near = (box_iou(boxes, boxes) > min_iou).fill_diagonal_(False)
            of_image = torch.nonzero((self.matched >= first) & (self.matched < first + count))[:, 0]
            row, other = torch.nonzero(near[self.matched[of_image] - first], as_tuple=True)
            rows.append(of_image[row])
            others.append(other + first)
            first += count
        return torch.cat(rows), torch.cat(others)

    def on_grid(self, boxes: Tensor, host_boxes: Tensor, size: int, min_iou: float) -> Tensor:
        """(R, size, size) float in [0, 1]: the neighbours of each training box, averaged over the bins of a grid on it.

        Where neighbours overlap each other, their coverages are added, up to 1.

        Args:
            boxes: (R, 4), the training boxes in pixels of the images.
            host_boxes: The same on the host.
            size: Bins along each axis.
            min_iou: See `pairs`.
        """
        covered = boxes.new_zeros((len(boxes), size, size))
        rows, others = self.pairs(min_iou)
        if not len(rows):
            return covered
        row, other = (tensor_to_device(index, boxes.device) for index in (rows, others))
        parts = self.masks[other].roi_align(boxes[row], size, host_boxes[rows])
        return covered.index_add(0, row, parts.to(covered.dtype)).clamp(max=1)
