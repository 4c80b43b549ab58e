"""StarDist's U-Net (csbdeep/internals/blocks.py and stardist/models/model2d.py), in torch."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.shared.norms import get_norm

DEPTH = 3
"""Times that the U-Net halves its input."""


class StarDistNet(nn.Module):
    """(B, 1, H, W) to maps at a `grid`-th of the size; H and W must be multiples of grid * 2 ** DEPTH.

    forward gives the (B, h, w) logits of the object probability, the (B, rays, h, w) distances in pixels, and the
    (B, classes + 1, h, w) logits of background and classes, None for one class.
    """

    def __init__(self, width: int, features: int, rays: int, grid: int, classes: int, norm: bool = False) -> None:
        super().__init__()
        self.shrink = nn.ModuleList()
        channels = 1
        for _ in range(grid.bit_length() - 1):
            self.shrink.append(_convolutions(norm, channels, width, width))
            channels = width
        widths = [width * 2**n for n in range(DEPTH)]
        self.down = nn.ModuleList()
        for wide in widths:
            self.down.append(_convolutions(norm, channels, wide, wide))
            channels = wide
        self.middle = _convolutions(norm, channels, 2 * channels, channels)
        self.up = nn.ModuleList()
        for n in reversed(range(DEPTH)):
            out = widths[max(0, n - 1)]
            self.up.append(_convolutions(norm, channels + widths[n], widths[n], out))
            channels = out
        self.features = _convolutions(norm, channels, features)
        self.probability = nn.Conv2d(features, 1, 1)
        self.distances = nn.Conv2d(features, rays, 1)
        several = classes > 1
        self.class_features = _convolutions(norm, channels, features) if several else None
        self.classes = nn.Conv2d(features, classes + 1, 1) if several else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # as Keras starts them: without norm, torch's own start lets the signal fade
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(cast(Tensor, module.bias))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        for stage in self.shrink:
            x = F.max_pool2d(stage(x), 2)
        kept = []
        for stage in self.down:
            kept.append(stage(x))
            x = F.max_pool2d(kept[-1], 2)
        x = self.middle(x)
        for stage in self.up:
            x = stage(torch.cat([F.interpolate(x, scale_factor=2), kept.pop()], dim=1))
        features = self.features(x)
        classes = None
        if self.classes is not None and self.class_features is not None:
            classes = self.classes(self.class_features(x))
        return self.probability(features)[:, 0], self.distances(features), classes


def _convolutions(norm: bool, inside: int, *outside: int) -> nn.Sequential:
    """3x3 convolutions with these output channels, each followed by ReLU, and before it by group norm if asked for."""
    layers: list[nn.Module] = []
    for out in outside:
        layers.append(nn.Conv2d(inside, out, 3, padding=1))
        if norm:
            layers.append(get_norm("GN", out))
        layers.append(nn.ReLU(inplace=True))
        inside = out
    return nn.Sequential(*layers)
