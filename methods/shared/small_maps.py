"""Convolutions of small maps with many channels as matrix products, for training on a CPU.

The deepest stage of a network sees a few pixels of each crop and has most of the weights: at preset quick, 64 pixels
of a batch and 2.4 million weights a layer. oneDNN brings the weights into an order of its own and their gradient back,
which takes longer than the arithmetic. A product with the matrix of patches reads the weights as they lie.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS_PER_PIXEL = 4
"""A product takes half to three quarters of the time where the smaller number of channels, in or out, is at least four
times the pixels of the batch. At one channel a pixel it takes as long with AVX2 and longer with AVX512."""


def convolve(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A plain `conv` of (B, C, h, w) maps without its norm: `torch.nn.functional.conv2d`, up to rounding."""
    height, width = (
        (x.shape[2 + axis] + 2 * int(conv.padding[axis]) - conv.kernel_size[axis]) // conv.stride[axis] + 1
        for axis in (0, 1)
    )
    if not _is_small(conv, x, len(x) * height * width):
        return F.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding)
    if conv.kernel_size == (1, 1):
        patches = x[:, :, :: conv.stride[0], :: conv.stride[1]].permute(0, 2, 3, 1).flatten(0, 2)
    else:
        columns = F.unfold(x, conv.kernel_size, padding=conv.padding, stride=conv.stride)  # type: ignore[arg-type]
        patches = columns.transpose(1, 2).flatten(0, 1)
    vectors = F.linear(patches, conv.weight.flatten(1), conv.bias)
    return vectors.reshape(len(x), height, width, -1).permute(0, 3, 1, 2).contiguous()


def _is_small(conv: nn.Conv2d, x: Tensor, pixels: int) -> bool:
    """Whether a product is faster. In prediction and on a GPU it is not, nor for weights that are not trained."""
    if x.device.type != "cpu" or not torch.is_grad_enabled() or not conv.weight.requires_grad:
        return False
    return 0 < CHANNELS_PER_PIXEL * pixels <= min(conv.in_channels, conv.out_channels)


class SmallMapConv2d(nn.Conv2d):
    """`nn.Conv2d` through `convolve`: same parameters, same state dict."""

    def forward(self, x: Tensor) -> Tensor:
        return convolve(self, x)


def use_small_map_products(module: nn.Module, classes: Mapping[type[nn.Conv2d], type[nn.Conv2d]]) -> None:
    """Let the plain convolutions in `module` be computed by `convolve`: without groups, dilation or odd padding.

    classes: for each class of convolutions its subclass that calls `convolve`. Others stay as they are.
    """
    for layer in module.modules():
        subclass = classes.get(type(layer))  # type: ignore[arg-type]
        if subclass is not None and _is_plain(layer):  # type: ignore[arg-type]
            layer.__class__ = subclass


def _is_plain(conv: nn.Conv2d) -> bool:
    if conv.groups != 1 or conv.dilation != (1, 1) or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        return False
    return conv.kernel_size != (1, 1) or conv.padding == (0, 0)
