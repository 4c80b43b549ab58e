"""Hourglasses (docs/methods.md#deepmac): counts, depth, shapes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from methods.deepmac.hourglass import LAYOUTS, Hourglass, HourglassStage


def _block(cin: int, cout: int, stride: int = 1) -> int:
    """Parameters of a residual block, counted by hand: bias-free convolutions, two parameters a normed channel."""
    skip = cin * cout + 2 * cout if stride > 1 or cin != cout else 0
    return 9 * cin * cout + 9 * cout * cout + 4 * cout + skip


def _stage(channels: tuple[int, ...], blocks: tuple[int, ...]) -> int:
    c0, c1, b = channels[0], channels[1], blocks[0]
    keep = b * _block(c0, c0)
    down = _block(c0, c1, 2) + (b - 1) * _block(c1, c1)
    inner = _stage(channels[1:], blocks[1:]) if len(channels) > 2 else blocks[1] * _block(c1, c1)
    return keep + down + inner + (b - 1) * _block(c1, c1) + _block(c1, c0)


def _by_hand(cin: int, depth: int, width: int) -> int:
    units, blocks = LAYOUTS[depth]
    channels = tuple(width * u for u in units)
    enter = 9 * cin * width + 2 * width + _block(width, channels[0])
    return enter + _stage(channels, blocks) + 9 * channels[0] ** 2 + 2 * channels[0]


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("depth", "cin", "count"),
    [
        (10, 50, 1_605_120),
        (10, 256, 1_723_776),
        (20, 50, 5_530_496),
        (20, 256, 5_649_152),
        (52, 50, 23_454_464),
        (52, 256, 23_573_120),
    ],
)
def test_published_counts(depth: int, cin: int, count: int) -> None:
    assert _count(Hourglass(cin, depth, 64, "BN")) == count


@pytest.mark.parametrize("depth", LAYOUTS)
def test_counts_by_hand(depth: int) -> None:
    assert _count(Hourglass(256, depth, 16, "BN")) == _by_hand(256, depth, 16)
    assert _count(Hourglass(50, depth, 16, "GN")) == _by_hand(50, depth, 16)


def _layers(module: nn.Module) -> int:
    """3x3 convolutions on the longest way through."""
    if isinstance(module, HourglassStage):
        return _layers(module.down) + _layers(module.inner) + _layers(module.up)
    return sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in module.modules())


@pytest.mark.parametrize("depth", LAYOUTS)
def test_the_depth_is_the_name(depth: int) -> None:
    net = Hourglass(8, depth, 4, "BN")
    assert _layers(net.enter) + _layers(net.stages) + _layers(net.leave) == depth


def test_shapes_and_a_bottom_of_one_pixel() -> None:
    net = Hourglass(256, 52, 4, "BN").eval()
    stage, sizes = net.stages, []
    while isinstance(stage, HourglassStage):
        stage.down.register_forward_hook(lambda _m, _i, out: sizes.append(out.shape[-1]))
        stage = stage.inner  # type: ignore[assignment]
    assert net(torch.randn(1, 256, 32, 32)).shape == (1, 8, 32, 32)
    assert sizes == [16, 8, 4, 2, 1]
    assert net.multiple == 32
