"""Features of boxes, cut from the level of a pyramid that suits the size of each box."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from methods.shared.roi_align_embedding_bag import in_order, roi_align_embedding_bag

CANONICAL_SIZE, CANONICAL_LEVEL = 224, 4
"""A box of 224 pixels a side is cut from the level of stride 16 (Lin et al. 2017, equation 1)."""


class RoIPool(nn.Module):
    """RoIAlign on a pyramid: each box from one level, half-pixel aligned, no rounding.

    size: side of the output in cells. strides: of the levels, fine to coarse, each double the one before.
    sampling_ratio: samples a cell and axis; 0 takes as many as the cell spans feature pixels.
    channels_last: the layout of what is cut for training. Quicker to convolve, but on it the weight gradient of a 1 x 1
    convolution of stride 2 with fewer than 16 channels in writes outside its memory where two threads share it (torch
    2.14 on a CPU): not for networks that may have one, as a narrow hourglass has.
    """

    def __init__(self, size: int, strides: Sequence[int], sampling_ratio: int = 0, channels_last: bool = False) -> None:
        super().__init__()
        doubling = [strides[0] * 2**i for i in range(len(strides))]
        if list(strides) != doubling or not math.log2(strides[0]).is_integer():
            raise ValueError(f"strides {tuple(strides)} are not powers of two, each double the one before")
        self.size, self.strides, self.sampling_ratio = size, tuple(strides), sampling_ratio
        self.channels_last = channels_last

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """features: one (B, C, h, w) map a level. boxes: B tensors (R_b, 4), x0 y0 x1 y1 in input pixels.

        Returns (sum R_b, C, size, size), image after image.
        """
        return self.pool(features, with_image_index(boxes))

    def pool(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        """The same for (R, 5) rows of image index and box."""
        levels = self.levels_of(rois[:, 1:])
        if rois.device.type != "cpu" and self.sampling_ratio == 0:
            return self._pool_unasked(features, rois, levels)
        pieces, where = [], []
        for level, (feature, stride) in enumerate(zip(features, self.strides, strict=True)):
            rows = torch.nonzero(levels == level)[:, 0]
            if len(rows):
                pieces.append(_aligned(feature, rois[rows], self.size, 1 / stride, self.sampling_ratio))
                where.append(rows)
        if not pieces:
            return features[0].new_zeros((0, features[0].shape[1], self.size, self.size))
        # rows are moved in the layout of the pieces, which a network may prefer
        cut = in_order([piece.permute(0, 2, 3, 1) for piece in pieces], where).permute(0, 3, 1, 2)
        return cut.contiguous() if cut.requires_grad and not self.channels_last else cut

    def _pool_unasked(self, features: Sequence[Tensor], rois: Tensor, levels: Tensor) -> Tensor:
        """Without asking a GPU which boxes are of which level: each level cuts all boxes, those of others shrunk to
        nothing, which takes no sample, costs next to nothing and gives zeros."""
        total: Tensor | None = None
        shrunk = torch.cat([rois[:, :3], rois[:, 1:3]], dim=1)
        for level, (feature, stride) in enumerate(zip(features, self.strides, strict=True)):
            here = torch.where((levels == level)[:, None], rois, shrunk)
            cut = _aligned(feature, here, self.size, 1 / stride, 0)
            total = cut if total is None else total + cut
        assert total is not None
        return total

    def levels_of(self, boxes: Tensor) -> Tensor:
        """(R,) int64 index of the level each (R, 4) box is cut from."""
        side = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).clamp(min=0).sqrt()
        # the small constant is detectron2's: it decides for boxes of exactly a power of two
        wanted = torch.floor(CANONICAL_LEVEL + torch.log2(side / CANONICAL_SIZE + 1e-8))
        finest = int(math.log2(self.strides[0]))
        return (wanted.clamp(finest, finest + len(self.strides) - 1) - finest).long()


def _aligned(feature: Tensor, rois: Tensor, size: int, scale: float, sampling_ratio: int) -> Tensor:
    # in float32 whatever the features are: bfloat16 cannot tell pixel 1000 from 1003
    if feature.device.type == "cpu":
        cut = roi_align_embedding_bag(feature, rois, size, scale, sampling_ratio).permute(0, 3, 1, 2)
    else:
        cut = roi_align(feature.float(), rois.float(), size, scale, sampling_ratio, aligned=True)
    return cut.to(feature.dtype)


def with_image_index(boxes: Sequence[Tensor]) -> Tensor:
    """(sum R_b, 5) rows of image index and box, from B tensors (R_b, 4)."""
    index = [b.new_full((len(b), 1), float(i)) for i, b in enumerate(boxes)]
    return torch.cat([torch.cat(index), torch.cat(list(boxes))], dim=1)
