"""The residual mask heads that the DeepMAC paper compares with its hourglasses.

Source: Birodkar et al. 2021; `tensorflow/models`,
`research/object_detection/meta_architectures/deepmac_meta_arch.py`; docs/methods.md#deepmac.
"""

from __future__ import annotations

from torch import Tensor, nn

from methods.shared.norms import Norm
from methods.shared.residual import residual_blocks

LAYOUTS: dict[int, tuple[int, ...]] = {
    4: (2,) * 2,
    8: (2,) * 4,
    12: (2,) * 6,
    16: (2,) * 8,
    20: (2,) * 8 + (3,) * 2,
}
"""By depth: channels of each residual block in units of the width."""


class ResNetTrunk(nn.Module):
    """(R, in_channels, S, S) to (R, 2 or 3 * width, S, S): a 1x1 convolution, then residual blocks of stride 1."""

    def __init__(self, in_channels: int, depth: int, width: int, norm: Norm) -> None:
        super().__init__()
        channels = [width * unit for unit in LAYOUTS[depth]]
        self.out_channels, self.multiple = channels[-1], 1
        self.enter = nn.Conv2d(in_channels, width, 1)
        self.blocks = residual_blocks([width, *channels], norm)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.blocks(self.enter(x))
        return out
