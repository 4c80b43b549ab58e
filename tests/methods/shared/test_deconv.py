"""Deconv2x2 is a transposed convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from methods.shared.deconv import Deconv2x2


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_results_gradients_and_names_are_those_of_a_transposed_convolution(layout: torch.memory_format) -> None:
    ours, theirs = Deconv2x2(5, 7), nn.ConvTranspose2d(5, 7, 2, 2)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 5, 4, 6).contiguous(memory_format=layout)
    mine, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    doubled, expected = ours(mine), theirs(other)
    torch.testing.assert_close(doubled, expected)
    weights = torch.rand_like(expected)
    (doubled * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(mine.grad, other.grad)
    for one, another in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, another.grad)


def test_no_maps() -> None:
    assert Deconv2x2(5, 7)(torch.zeros(0, 5, 4, 4)).shape == (0, 7, 8, 8)
