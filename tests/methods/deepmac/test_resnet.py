"""Residual trunks (docs/methods.md#deepmac), counted by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from methods.deepmac.resnet import LAYOUTS, ResNetTrunk


def _block(cin: int, cout: int) -> int:
    return 9 * cin * cout + 9 * cout * cout + 4 * cout + (cin * cout + 2 * cout if cin != cout else 0)


@pytest.mark.parametrize("depth", LAYOUTS)
def test_counts_depth_and_shape(depth: int) -> None:
    net = ResNetTrunk(50, depth, 16, "BN")
    widths = [16] + [32] * min(depth // 2, 8) + [48] * max(depth // 2 - 8, 0)
    expected = 50 * 16 + 16 + sum(_block(a, b) for a, b in pairwise(widths))
    assert sum(p.numel() for p in net.parameters()) == expected
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in net.modules()) == depth
    assert net(torch.randn(2, 50, 8, 8)).shape == (2, widths[-1], 8, 8)
