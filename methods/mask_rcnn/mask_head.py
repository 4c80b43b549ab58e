"""The mask head of Mask R-CNN: four convolutions on a 14x14 crop, one 28x28 mask for each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from harness.contract import Task
from methods.mask_rcnn import FCNOptions
from methods.shared.deconv import Deconv2x2, depth_to_space
from methods.shared.mask_heads import DenseField, MaskHead
from methods.shared.norms import Norm, get_norm
from methods.shared.roi_pooling import RoIPooler


class FCNMaskHead(MaskHead):
    """RoIAlign, 3x3 convolutions with ReLU, 2x2 deconvolution with ReLU, 1x1 convolution to the classes.

    Source: He et al. 2017, figure 4 (right); docs/methods.md#mask-r-cnn.
    """

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
        self.pool = RoIPooler(crop, strides, sampling_ratio, channels_last=True)
        layers: list[nn.Module] = []
        for i in range(convs):
            layers.append(nn.Conv2d(width if i else channels, width, 3, padding=1, bias=norm is None))
            if norm is not None:
                layers.append(get_norm(norm, width))
            layers.append(nn.ReLU(inplace=True))
        self.convs = nn.Sequential(*layers)
        # a sequence of one layer, because stored weights have this name
        self.deconv = nn.Sequential(Deconv2x2(width if convs else channels, width))
        self.predictor = nn.Conv2d(width, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.predictor.weight, std=0.001)

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> DenseField:
        deconv: Any = self.deconv[0]
        blocks = F.relu(deconv.forward_blocks(self.convs(self.pool(features, boxes))))
        # the 1x1 convolution comes before depth_to_space, which then moves fewer channels
        logits = F.linear(blocks, self.predictor.weight.flatten(1), self.predictor.bias)
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
        "GN" if options.heads == "scratch_gn" else options.norm,
        options.sampling_ratio,
    )
