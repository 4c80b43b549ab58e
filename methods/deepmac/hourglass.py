"""Single hourglass networks of 10 to 100 layers without initial downsampling.

Source: Birodkar et al. 2021; `tensorflow/models`,
`official/projects/deepmac_maskrcnn/modeling/heads/hourglass_network.py`; docs/methods.md#deepmac.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from methods.shared.norms import Norm
from methods.shared.residual import ResidualBlock, conv_norm_relu, residual_blocks

LAYOUTS: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {
    10: ((2, 2), (1, 1)),
    20: ((2, 2, 3), (1, 2, 2)),
    32: ((2, 2, 3, 3), (2, 2, 2, 2)),
    52: ((2, 2, 3, 3, 3, 4), (2, 2, 2, 2, 2, 4)),
    100: ((2, 2, 3, 3, 3, 4), (4, 4, 4, 4, 4, 8)),
}
"""By depth: channels of each stage in units of the width, and residual blocks of each stage."""


class HourglassStage(nn.Module):
    """One recursion: an inner network at half the size, plus a branch at full size."""

    def __init__(self, channels: tuple[int, ...], blocks: tuple[int, ...], norm: Norm) -> None:
        super().__init__()
        here, below, b = channels[0], channels[1], blocks[0]
        self.keep = residual_blocks([here] * (b + 1), norm)
        self.down = residual_blocks([here, *[below] * b], norm, stride=2)
        self.inner: nn.Module
        if len(channels) > 2:
            self.inner = HourglassStage(channels[1:], blocks[1:], norm)
        else:
            self.inner = residual_blocks([below] * (blocks[1] + 1), norm)
        self.up = residual_blocks([*[below] * b, here], norm)

    def forward(self, x: Tensor) -> Tensor:
        inward = self.up(self.inner(self.down(x)))
        out: Tensor = self.keep(x) + F.interpolate(inward, scale_factor=2.0, mode="nearest")
        return out


class Hourglass(nn.Module):
    """(R, in_channels, S, S) to (R, 2 * width, S, S); S must be a multiple of `multiple`.

    Args:
        in_channels: Of the input.
        depth: 10, 20, 32, 52 or 100: 3x3 convolutions on the longest path.
        width: Channels of the first layer; 64 in the paper.
        norm: Of the convolutions.
    """

    def __init__(self, in_channels: int, depth: int, width: int, norm: Norm) -> None:
        super().__init__()
        units, blocks = LAYOUTS[depth]
        channels = tuple(width * unit for unit in units)
        self.out_channels, self.multiple = channels[0], 2 ** (len(channels) - 1)
        self.enter = nn.Sequential(conv_norm_relu(in_channels, width, norm), ResidualBlock(width, channels[0], norm))
        self.stages = HourglassStage(channels, blocks, norm)
        self.leave = conv_norm_relu(channels[0], channels[0], norm)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.leave(self.stages(self.enter(x)))
        return out
