"""Convolution and max-pooling with TensorFlow's SAME padding.

Along an axis of n pixels, a window of k pixels and stride s is padded so that there are ceil(n / s) outputs. The total
is max((ceil(n / s) - 1) s + k - n, 0). The smaller half comes first (`tensorflow/tensorflow`,
`tensorflow/python/ops/nn_ops.py`, "Notes on padding"). With k = 3, s = 2 and an even n that is nothing in front and one
pixel behind, where PyTorch's padding=1 has one pixel in front and reads nothing behind.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def pad_same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """(B, C, H, W) padded for square windows of `kernel` pixels."""
    padding: list[int] = []
    for length in (x.shape[3], x.shape[2]):
        total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        padding += [total // 2, total - total // 2]
    return F.pad(x, padding, value=value)


class SameConv2d(nn.Conv2d):
    """nn.Conv2d whose argument `padding` is replaced by SAME. Same parameters."""

    def forward(self, input: Tensor) -> Tensor:
        padded = pad_same(input, self.kernel_size[0], self.stride[0])
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class SameMaxPool2d(nn.MaxPool2d):
    """nn.MaxPool2d of a square window with SAME padding, whose pixels are never the largest."""

    def __init__(self, window: int, step: int) -> None:
        super().__init__(window, step)
        self.window, self.step = window, step

    def forward(self, input: Tensor) -> Tensor:
        padded = pad_same(input, self.window, self.step, value=float("-inf"))
        return F.max_pool2d(padded, self.window, self.step)
