"""Norms can train on one value a channel."""

from __future__ import annotations

import pytest
import torch

from harness.errors import HarnessError
from methods.shared.norms import BatchNorm, get_norm


def test_batch_norm_is_torchs_where_there_is_a_variance() -> None:
    ours, theirs, x = BatchNorm(3), torch.nn.BatchNorm2d(3), torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_var, theirs.running_var)


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (0, 3, 4, 4)])
def test_one_value_or_none_leaves_the_running_statistics(shape: tuple[int, ...]) -> None:
    norm, x = BatchNorm(3), torch.randn(shape)
    torch.testing.assert_close(norm(x), x / (1 + norm.eps) ** 0.5)
    assert norm.running_mean is not None
    assert norm.running_mean.tolist() == [0, 0, 0]


@pytest.mark.parametrize("channels", [5, 16, 41, 164, 256])
def test_group_norm_of_a_single_pixel_is_not_zero(channels: int) -> None:
    out = get_norm("GN", channels)(torch.randn(2, channels, 1, 1))
    assert out.abs().max() > 0.1
    assert sum(p.numel() for p in get_norm("GN", channels).parameters()) == 2 * channels


def test_unknown_norm_is_a_users_mistake() -> None:
    with pytest.raises(HarnessError, match="BN and GN"):
        get_norm("XX", 4)  # type: ignore[arg-type]
