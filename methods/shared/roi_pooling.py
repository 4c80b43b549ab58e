"""RoIAlign on a feature pyramid: each box is cropped from the level that suits its size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from methods.shared.device_transfer import on_gpu
from methods.shared.roi_align_embedding_bag import restore_order, roi_align_embedding_bag

CANONICAL_SIZE, CANONICAL_LEVEL = 224, 4
"""A box with a side of 224 pixels is cropped from the level of stride 16 = 2 ** 4 (Lin et al. 2017, equation 1)."""


class RoIPooler(nn.Module):
    """Half-pixel aligned RoIAlign of each box on one level of a pyramid (detectron2 `modeling/poolers.py`, ROIAlignV2).

    Args:
        size: Bins along each axis of the output.
        strides: Of the levels, fine to coarse, each double the one before.
        sampling_ratio: Samples of a bin along each axis; 0 for as many as the bin spans pixels of the map.
        channels_last: Memory layout of the crops in training. It makes convolutions faster. Leave it off for networks
            that may hold a 1x1 convolution of stride 2 with fewer than 16 input channels, such as a narrow hourglass:
            with this layout its weight gradient writes outside its memory in two threads (torch 2.14 on a CPU).
    """

    def __init__(self, size: int, strides: Sequence[int], sampling_ratio: int = 0, channels_last: bool = False) -> None:
        super().__init__()
        doubling = [strides[0] * 2**i for i in range(len(strides))]
        if list(strides) != doubling or not math.log2(strides[0]).is_integer():
            raise ValueError(f"strides {tuple(strides)} are not powers of two, each double the one before")
        self.size, self.strides, self.sampling_ratio = size, tuple(strides), sampling_ratio
        self.channels_last = channels_last

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """(sum R_b, C, size, size) crops, image after image.

        Args:
            features: One (B, C, h, w) map for each level.
            boxes: B tensors (R_b, 4), x0 y0 x1 y1 in pixels of the network's input.
        """
        return self.pool_rois(features, boxes_to_rois(boxes))

    def pool_rois(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        """(R, C, size, size) crops of (R, 5) rows of image index and box."""
        levels = self.assign_levels(rois[:, 1:])
        if self.sampling_ratio == 0 and not _uses_embedding_bag(rois):
            return self._pool_without_sync(features, rois, levels)
        pieces, rows_of_pieces = [], []
        for level, (feature, stride) in enumerate(zip(features, self.strides, strict=True)):
            rows = torch.nonzero(levels == level)[:, 0]
            if len(rows):
                pieces.append(_roi_align(feature, rois[rows], self.size, 1 / stride, self.sampling_ratio))
                rows_of_pieces.append(rows)
        if not pieces:
            return features[0].new_zeros((0, features[0].shape[1], self.size, self.size))
        crops = restore_order([piece.permute(0, 2, 3, 1) for piece in pieces], rows_of_pieces).permute(0, 3, 1, 2)
        return crops.contiguous() if crops.requires_grad and not self.channels_last else crops

    def _pool_without_sync(self, features: Sequence[Tensor], rois: Tensor, levels: Tensor) -> Tensor:
        """The same without waiting for a GPU to say which boxes are on which level.

        Each level crops all boxes, after those of other levels were shrunk to a point. A box without area has no
        samples, costs little and gives zeros, so that the crops of all levels can be added.
        """
        total: Tensor | None = None
        shrunk = torch.cat([rois[:, :3], rois[:, 1:3]], dim=1)
        for level, (feature, stride) in enumerate(zip(features, self.strides, strict=True)):
            of_level = torch.where((levels == level)[:, None], rois, shrunk)
            crops = _roi_align(feature, of_level, self.size, 1 / stride, 0)
            total = crops if total is None else total + crops
        assert total is not None
        return total

    def assign_levels(self, boxes: Tensor) -> Tensor:
        """(R,) int64 index of the level that each (R, 4) box is cropped from."""
        side = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).clamp(min=0).sqrt()
        # detectron2 adds the same constant; it decides for boxes whose side is exactly a power of two
        level = torch.floor(CANONICAL_LEVEL + torch.log2(side / CANONICAL_SIZE + 1e-8))
        finest = int(math.log2(self.strides[0]))
        return (level.clamp(finest, finest + len(self.strides) - 1) - finest).long()


def _uses_embedding_bag(tensor: Tensor) -> bool:
    """Whether the embedding bag crops: on a CPU, and on a GPU where kernels must be deterministic.

    torchvision's kernel is not. In its place torchvision then takes an implementation in Python, which is slow and has
    gradients that are not finite for boxes without area.
    """
    return not on_gpu(tensor) or torch.are_deterministic_algorithms_enabled()


def _roi_align(feature: Tensor, rois: Tensor, size: int, scale: float, sampling_ratio: int) -> Tensor:
    # always in float32, because bfloat16 cannot tell pixel 1000 from 1003
    if _uses_embedding_bag(feature):
        crops = roi_align_embedding_bag(feature, rois, size, scale, sampling_ratio).permute(0, 3, 1, 2)
    else:
        crops = roi_align(feature.float(), rois.float(), size, scale, sampling_ratio, aligned=True)
    return crops.to(feature.dtype)


def boxes_to_rois(boxes: Sequence[Tensor]) -> Tensor:
    """(sum R_b, 5) rows of image index and box from B tensors (R_b, 4)."""
    index = [b.new_full((len(b), 1), float(i)) for i, b in enumerate(boxes)]
    return torch.cat([torch.cat(index), torch.cat(list(boxes))], dim=1)
