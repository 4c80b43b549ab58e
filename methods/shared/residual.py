"""What residual networks here are made of, and the block of the deep mask heads (METHODS section 4a)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from methods.shared.norms import Norm, norm_of


def conv_norm_relu(cin: int, cout: int, norm: Norm, stride: int = 1, relu: bool = True, kernel: int = 3) -> nn.Module:
    """A bias-free convolution, its norm, and a ReLU where asked for."""
    layers = [nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False), norm_of(norm, cout)]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


class Residual(nn.Module):
    """Two 3x3 convolutions and a skip, added before the last ReLU; a 1x1 skip where shape or width changes."""

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


def residuals(widths: list[int], norm: Norm, stride: int = 1) -> nn.Sequential:
    """Blocks from widths[0] over widths[1]... in sequence; the first has the stride."""
    pairs = pairwise(widths)
    return nn.Sequential(*(Residual(a, b, norm, stride if i == 0 else 1) for i, (a, b) in enumerate(pairs)))
