"""Container-Light: three convolutional stages and a last stage that mixes a static and a dynamic affinity.

Source: Gao et al. 2021; `allenai/container`, `models.py`; docs/methods.md#container. Modules have the names
of the released weights, so that such a file loads unchanged, except for its classifier.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from timm.layers import ConvMlp, DropPath, LayerNorm2d
from torch import Tensor, nn

from harness.contract import Init, Task
from methods.container import ContainerOptions
from methods.shared.norms import BatchNorm
from methods.shared.pretrained import load_imagenet_backbone

HEAD_WIDTH = 32
"""Channels of an attention head in the last stage."""


class PatchEmbed(nn.Module):
    """Downsampling by a whole factor: a convolution with kernel size = stride, then layer norm over channels."""

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(cin, cout, stride, stride)
        self.norm = LayerNorm2d(cout, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.proj(x))
        return out


class Block(nn.Module):
    """Positional encoding, spatial aggregation, and MLP over channels, each with a residual connection.

    The positional encoding is a depthwise 3x3 convolution. Subclasses define the aggregation.
    """

    def __init__(self, width: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.pos_embed = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm1 = BatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 1)
        self.norm2 = BatchNorm(width)
        self.mlp = ConvMlp(width, width * mlp_ratio, act_layer=nn.GELU)
        self.drop_path = DropPath(drop_path)

    def aggregate(self, x: Tensor) -> Tensor:
        """(B, C, h, w) aggregated over space."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.pos_embed(x)
        x = x + self.drop_path(self.conv2(self.aggregate(self.norm1(x))))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


class ConvBlock(Block):
    """Static affinity only: a depthwise 5x5 convolution."""

    def __init__(self, width: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__(width, mlp_ratio, drop_path)
        self.conv1 = nn.Conv2d(width, width, 1)
        self.attn = nn.Conv2d(width, width, 5, padding=2, groups=width)

    def aggregate(self, x: Tensor) -> Tensor:
        out: Tensor = self.attn(self.conv1(x))
        return out


class MixBlock(Block):
    """A learned mixture of attention over the whole map and a depthwise 5x5 convolution of the same values.

    Attributes:
        sa_weight: (1,). Its sigmoid is the share of attention, initially one half.
    """

    def __init__(self, width: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__(width, mlp_ratio, drop_path)
        self.conv1 = nn.Conv2d(width, 3 * width, 1)
        self.conv = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.sa_weight = nn.Parameter(torch.zeros(1))

    def aggregate(self, x: Tensor) -> Tensor:
        width = x.shape[1]
        projected = self.conv1(x)
        # (B, 3 * heads * 32, h, w) to three of (B, heads, h * w, 32)
        heads = projected.flatten(2).unflatten(1, (3, width // HEAD_WIDTH, HEAD_WIDTH)).transpose(3, 4)
        query, key, value = heads.unbind(1)
        attended = F.scaled_dot_product_attention(query, key, value)
        dynamic = attended.transpose(2, 3).reshape(x.shape)
        static = self.conv(projected[:, 2 * width :])
        share = self.sa_weight.sigmoid()
        return share * dynamic + (1 - share) * static


class ContainerLight(nn.Module):
    """Four maps at strides 4, 8, 16 and 32 of (B, 3, H, W) images, H and W multiples of 32.

    Args:
        widths: Channels of each stage; the last a multiple of 32.
        depths: Blocks of each stage.
        mlp_ratios: Width of the MLPs of each stage in units of its channels.
        drop_path: Probability of stochastic depth in the last block; it grows linearly from 0 in the first.
    """

    pad_to = 32
    strides = (4, 8, 16, 32)

    def __init__(
        self, widths: Sequence[int], depths: Sequence[int], mlp_ratios: Sequence[int], drop_path: float
    ) -> None:
        super().__init__()
        self.channels = tuple(widths)
        rates = np.linspace(0, drop_path, sum(depths)).tolist()
        cin = 3
        for stage, (width, depth, ratio) in enumerate(zip(widths, depths, mlp_ratios, strict=True), start=1):
            kind = MixBlock if stage == 4 else ConvBlock
            self.add_module(f"patch_embed{stage}", PatchEmbed(cin, width, 4 if stage == 1 else 2))
            blocks = [kind(width, ratio, rates.pop(0)) for _ in range(depth)]
            self.add_module(f"blocks{stage}", nn.Sequential(*blocks))
            cin = width
        self.norm = BatchNorm(cin)

    def compiled_blocks(self) -> list[nn.Module]:
        """The blocks, which have the same shapes in each stage, and the patch embeddings."""
        return [module for module in self.modules() if isinstance(module, PatchEmbed | Block)]

    def forward(self, images: Tensor) -> list[Tensor]:
        x, maps = images, []
        for stage in range(1, 5):
            x = self.get_submodule(f"blocks{stage}")(self.get_submodule(f"patch_embed{stage}")(x))
            maps.append(x)
        return [*maps[:-1], self.norm(x)]


def build(task: Task, options: ContainerOptions, *, init: Init) -> ContainerLight:
    """See ContainerLight; the defaults are the paper's."""
    backbone = ContainerLight(options.widths, options.depths, options.mlp_ratios, options.drop_path)
    load_imagenet_backbone(backbone, init, "Container-Light")
    return backbone
