"""Maps at twice their size by a transposed convolution whose windows lie side by side."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Deconv2x2(nn.ConvTranspose2d):
    """A transposed convolution of 2 x 2 with stride 2: the same weights, numbers and place in a state dict.

    No two windows meet, so that it is one matrix product over the channels of each place. Half as dear on a CPU, whose
    gradient of the bias is otherwise summed up without its vector units (torch 2.14).
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 2, 2)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, C', 2 h, 2 w), laid out channels last, from (N, C, h, w)."""
        return depth_to_space(self.squares(x))

    def squares(self, x: Tensor) -> Tensor:
        """(N, h, w, 2, 2, C'): the square that each place becomes. What looks at one place at a time can go on from
        here, and put its own, smaller result side by side."""
        n, channels, height, width = x.shape
        weight = self.weight.permute(2, 3, 1, 0).reshape(-1, channels)
        bias = None if self.bias is None else self.bias.repeat(4)
        return F.linear(x.permute(0, 2, 3, 1), weight, bias).reshape(n, height, width, 2, 2, self.out_channels)


def depth_to_space(squares: Tensor) -> Tensor:
    """(N, C, 2 h, 2 w), laid out channels last, from (N, h, w, 2, 2, C)."""
    n, height, width, _, _, channels = squares.shape
    return squares.permute(0, 1, 3, 2, 4, 5).reshape(n, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)
