"""Building blocks of residual networks.

The residual block is that of the deep mask heads (docs/methods.md#deepmac).
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from methods.shared.norms import Norm, get_norm


def conv_norm_relu(
    cin: int,
    cout: int,
    norm: Norm,
    stride: int = 1,
    relu: bool = True,
    kernel: int = 3,
    conv: type[nn.Conv2d] = nn.Conv2d,
) -> nn.Module:
    """A convolution without bias, its norm and, unless `relu` is False, a ReLU. conv: the class of the convolution."""
    layers = [conv(cin, cout, kernel, stride, kernel // 2, bias=False), get_norm(norm, cout)]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions plus a skip connection, then a ReLU. The skip is a 1x1 convolution if the shape changes."""

    def __init__(self, cin: int, cout: int, norm: Norm, stride: int = 1) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            conv_norm_relu(cin, cout, norm, stride), conv_norm_relu(cout, cout, norm, relu=False)
        )
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or cin != cout:
            self.skip = conv_norm_relu(cin, cout, norm, stride, relu=False, kernel=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.branch(x) + self.skip(x))
        return out


def residual_blocks(widths: list[int], norm: Norm, stride: int = 1) -> nn.Sequential:
    """Residual blocks in sequence, from widths[0] channels to widths[1] and so on; the first block has the stride."""
    pairs = pairwise(widths)
    return nn.Sequential(*(ResidualBlock(a, b, norm, stride if i == 0 else 1) for i, (a, b) in enumerate(pairs)))
