"""The bilayer mask head: the occluder's branch, then the branch of the cell that it may cover (the occludee).

Source: Ke, Tai, Tang 2021; `lkeab/BCNet`, `detectron2/modeling/roi_heads/mask_head.py`; docs/methods.md#bcnet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.contract import Task
from methods.bcnet import BCNetOptions
from methods.bcnet.contours import contours
from methods.shared.deconv import Deconv2x2, depth_to_space
from methods.shared.mask_heads import DenseField, MaskHead
from methods.shared.norms import BatchNorm
from methods.shared.roi_pooling import RoIPooler
from methods.shared.supervision import MaskTargets


class GraphConvolution(nn.Module):
    """A non-local block: every bin reads all others of its box, by the softmax of scaled products.

    The result passes a 1x1 convolution and a batch norm and is added to the input. The four convolutions have no bias.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Conv2d(channels, channels, 1, bias=False) for _ in range(4))
        self.norm = BatchNorm(channels, eps=1e-4)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (layer(x).flatten(2).transpose(1, 2) for layer in (self.query, self.key, self.value))
        read = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = x + self.norm(self.output(read.transpose(1, 2).reshape(x.shape)))
        return out


class Branch(nn.Module):
    """Four 3x3 convolutions with ReLU, a graph convolution after the second."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(4))
        self.graph = GraphConvolution(channels)

    def forward(self, x: Tensor) -> Tensor:
        for index, conv in enumerate(self.convs):
            x = F.relu(conv(x))
            if index == 1:
                x = self.graph(x)
        return x


class Predictor(nn.Module):
    """A 2x2 deconvolution of stride 2 with ReLU, and a 1x1 convolution to one channel, whatever the class."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.deconv = Deconv2x2(channels, channels)
        self.predictor = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(R, 1, 2 S, 2 S) logits of (R, C, S, S)."""
        blocks = F.relu(self.deconv.forward_blocks(x))
        return depth_to_space(F.linear(blocks, self.predictor.weight.flatten(1), self.predictor.bias))


class BilayerField(DenseField):
    """The logits of the cell's mask, and in training those of its contour and of the occluder.

    Args:
        head: With the weights of the losses.
        logits: (R, 1, S, S) of the cell's mask.
        contour, occluder, occluder_contour: (R, 1, S, S), or None in prediction.
    """

    def __init__(
        self,
        head: BCNetMaskHead,
        logits: Tensor,
        contour: Tensor | None = None,
        occluder: Tensor | None = None,
        occluder_contour: Tensor | None = None,
    ) -> None:
        super().__init__(logits)
        self.head = head
        self.contour, self.occluder, self.occluder_contour = contour, occluder, occluder_contour

    def full_mask_loss(self, targets: MaskTargets, classes: Tensor) -> Tensor:
        """The four binary cross-entropies. A bin is inside where masks cover at least half of it.

        Those of the occluder are the mean over the boxes that have one and as many others: the first ones.
        """
        options, size = self.head.options, self.logits.shape[-1]
        assert self.contour is not None
        assert self.occluder is not None
        assert self.occluder_contour is not None
        inside = targets.masks_on_grid(size) >= 0.5
        covered = targets.occluders_on_grid(size, options.min_box_iou) >= 0.5
        cell = _cross_entropy(self.logits, inside) + options.contour_weight * _cross_entropy(
            self.contour, contours(inside)
        )
        occluder = options.occluder_weight * _cross_entropy(self.occluder, covered)
        occluder = occluder + options.contour_weight * _cross_entropy(self.occluder_contour, contours(covered))
        has_occluder = covered.flatten(1).any(dim=1)
        first = torch.arange(len(covered), device=covered.device) < has_occluder.sum()
        weight = has_occluder.to(occluder.dtype) + first.to(occluder.dtype)
        return cell.mean() + (occluder * weight).sum() / weight.sum().clamp(min=1)


class BCNetMaskHead(MaskHead):
    """RoIAlign, the branch of the occluder, its features plus those of the box, the branch of the cell."""

    def __init__(self, channels: int, strides: Sequence[int], options: BCNetOptions) -> None:
        super().__init__()
        width = options.width or channels
        self.options = options
        self.pool = RoIPooler(options.crop, strides, channels_last=True)
        self.reduce = nn.Identity() if width == channels else nn.Conv2d(channels, width, 1)
        self.occluder_branch, self.cell_branch = Branch(width), Branch(width)
        self.occluder, self.occluder_contour = Predictor(width), Predictor(width)
        self.cell, self.cell_contour = Predictor(width), Predictor(width)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for predictor in (self.occluder, self.occluder_contour, self.cell, self.cell_contour):
            nn.init.normal_(predictor.predictor.weight, std=0.001)

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> BilayerField:
        box: Any = self.reduce(self.pool(features, boxes))
        occluder = self.occluder_branch(box)
        cell = self.cell_branch(box + occluder)
        if not self.training:
            return BilayerField(self, self.cell(cell))
        return BilayerField(
            self, self.cell(cell), self.cell_contour(cell), self.occluder(occluder), self.occluder_contour(occluder)
        )


def _cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    """(R,) mean binary cross-entropy of each box. logits: (R, 1, S, S); wanted: (R, S, S) bool."""
    of_bins = F.binary_cross_entropy_with_logits(logits[:, 0], wanted.to(logits.dtype), reduction="none")
    return of_bins.mean(dim=(1, 2))


def build(task: Task, options: BCNetOptions, *, channels: int, strides: tuple[int, ...]) -> BCNetMaskHead:
    """The mask head on a pyramid of `channels` channels whose levels have these strides."""
    return BCNetMaskHead(channels, strides, options)
