"""Normalisation layers by name that also work with very small batches."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from harness.errors import HarnessError

Norm = Literal["BN", "GN"]


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that can also train on one value a channel, or none: one box, one pixel.

    The variance of one value is zero, and PyTorch raises an error. Such a batch is normalised by the running
    statistics.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() <= x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


def get_norm(kind: Norm, channels: int, eps: float = 1e-5) -> nn.Module:
    """A batch norm or group norm over `channels`; both have two parameters a channel.

    "GN" has up to 32 groups of at least 8 channels, so that a map of a single pixel still has a variance.

    Raises:
        HarnessError: No such norm.
    """
    if kind == "BN":
        return BatchNorm(channels, eps=eps)
    if kind == "GN":
        groups = max(g for g in range(1, 33) if channels % g == 0 and (g == 1 or channels // g >= 8))
        return nn.GroupNorm(groups, channels, eps=eps)
    raise HarnessError(f"no norm {kind!r}; there are BN and GN")
