"""The mask head of Mask R-CNN: four convolutions on a 14 x 14 crop, one mask per class at 28 x 28."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from harness.contract import Task
from methods.mask_rcnn import FCNOptions
from methods.shared.deconv import Deconv2x2, depth_to_space
from methods.shared.mask_heads import DenseField, MaskHead
from methods.shared.norms import Norm, norm_of
from methods.shared.roi_pooling import RoIPool


class FCNMaskHead(MaskHead):
    """METHODS section 1: RoIAlign, 3x3 convolutions with ReLU, 2x2 deconvolution with ReLU, 1x1 to the classes."""

    def __init__(
        self,
        channels: int,
        strides: Sequence[int],
        classes: int,
        width: int,
        convs: int,
        crop: int,
        norm: Norm | None,
        sampling_ratio: int,
    ) -> None:
        super().__init__()
        self.pool = RoIPool(crop, strides, sampling_ratio, channels_last=True)
        layers: list[nn.Module] = []
        for i in range(convs):
            layers.append(nn.Conv2d(width if i else channels, width, 3, padding=1, bias=norm is None))
            if norm is not None:
                layers.append(norm_of(norm, width))
            layers.append(nn.ReLU(inplace=True))
        self.convs = nn.Sequential(*layers)
        # one layer, under the name that it has in weights of earlier runs
        self.deconv = nn.Sequential(Deconv2x2(width if convs else channels, width))
        self.predictor = nn.Conv2d(width, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.predictor.weight, std=0.001)

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> DenseField:
        doubling: Any = self.deconv[0]
        squares = F.relu(doubling.squares(self.convs(self.pool(features, boxes))))
        # a 1 x 1 convolution, before the squares of all channels would be copied to lie side by side
        logits = F.linear(squares, self.predictor.weight.flatten(1), self.predictor.bias)
        return DenseField(depth_to_space(logits))


def build(task: Task, options: FCNOptions, *, channels: int, strides: tuple[int, ...]) -> FCNMaskHead:
    """The mask head on a pyramid of `channels` channels whose levels have these strides."""
    width = options.width or channels
    return FCNMaskHead(
        channels,
        strides,
        len(task.classes),
        width,
        options.convs,
        options.crop,
        options.norm,
        options.sampling_ratio,
    )
