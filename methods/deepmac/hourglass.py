"""Single hourglass networks of 10 to 100 layers, without initial downsampling (METHODS section 4a)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from methods.shared.norms import Norm
from methods.shared.residual import Residual, conv_norm_relu, residuals

LAYOUTS: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {
    10: ((2, 2), (1, 1)),
    20: ((2, 2, 3), (1, 2, 2)),
    32: ((2, 2, 3, 3), (2, 2, 2, 2)),
    52: ((2, 2, 3, 3, 3, 4), (2, 2, 2, 2, 2, 4)),
    100: ((2, 2, 3, 3, 3, 4), (4, 4, 4, 4, 4, 8)),
}
"""Depth: channels of each stage in units of the width, and residual blocks of each stage."""


class Stage(nn.Module):
    """Halve, go inward, come back, and add what was kept at full size."""

    def __init__(self, channels: tuple[int, ...], blocks: tuple[int, ...], norm: Norm) -> None:
        super().__init__()
        here, below, b = channels[0], channels[1], blocks[0]
        self.keep = residuals([here] * (b + 1), norm)
        self.down = residuals([here, *[below] * b], norm, stride=2)
        self.inner: nn.Module
        if len(channels) > 2:
            self.inner = Stage(channels[1:], blocks[1:], norm)
        else:
            self.inner = residuals([below] * (blocks[1] + 1), norm)
        self.up = residuals([*[below] * b, here], norm)

    def forward(self, x: Tensor) -> Tensor:
        inward = self.up(self.inner(self.down(x)))
        out: Tensor = self.keep(x) + F.interpolate(inward, scale_factor=2.0, mode="nearest")
        return out


class Hourglass(nn.Module):
    """(R, in_channels, S, S) to (R, 2 * width, S, S); S must be a multiple of `multiple`.

    depth: 10, 20, 32, 52 or 100, the layers on the longest path. width: of the first layer; the paper's is 64.
    """

    def __init__(self, in_channels: int, depth: int, width: int, norm: Norm) -> None:
        super().__init__()
        units, blocks = LAYOUTS[depth]
        channels = tuple(width * unit for unit in units)
        self.out_channels, self.multiple = channels[0], 2 ** (len(channels) - 1)
        self.enter = nn.Sequential(conv_norm_relu(in_channels, width, norm), Residual(width, channels[0], norm))
        self.stages = Stage(channels, blocks, norm)
        self.leave = conv_norm_relu(channels[0], channels[0], norm)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.leave(self.stages(self.enter(x)))
        return out
