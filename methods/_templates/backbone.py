"""my_method: another backbone.

The slot `backbone` turns an image into feature maps; the engine adds a feature pyramid, proposals and heads.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from harness.contract import Card, Init, Method, Part, Task

METHOD = Method(
    name="my_method",
    # Fill in the card: `python -m harness methods my_method` prints it.
    card=Card(
        title="my_method",
        paper="unpublished",
        year=2021,
        venue="none",
        changes="backbone: says in one sentence what it does to the recipe",
        labels="full masks",
        departures=(),
    ),
    # Options are JSON values, arguments of build() below. They are written into every record, and a user types
    # my_method(width=64). Those of size "small" are for presets that run on a CPU.
    parts={"backbone": Part("my_method", f"{__name__}:build", {"width": 64}, {"small": {"width": 32}})},
)


class MyBackbone(nn.Module):
    """Four stages of two 3x3 convolutions, each at half the resolution and twice the width of the one before.

    What an engine reads of a backbone:
    strides, channels: one entry a map, fine to coarse. pad_to: the engine pads images to a multiple of it.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.strides = (4, 8, 16, 32)
        self.channels = (width, 2 * width, 4 * width, 8 * width)
        self.pad_to = 32
        self.stem = block(3, width, stride=2)
        self.stages = nn.ModuleList(
            block(inside, outside, stride=2)
            for inside, outside in zip((width, *self.channels), self.channels, strict=False)
        )

    def forward(self, images: Tensor) -> Sequence[Tensor]:
        """(B, 3, H, W), normalised by the engine, to one (B, channels[i], H / strides[i], W / strides[i]) a stage."""
        maps = []
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def block(inside: int, outside: int, stride: int) -> nn.Sequential:
    """Two convolutions. GroupNorm, since batches are small."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
        nn.GroupNorm(8, outside),
        nn.ReLU(inplace=True),
        nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
        nn.GroupNorm(8, outside),
        nn.ReLU(inplace=True),
    )


def build(task: Task, *, init: Init, width: int = 64) -> MyBackbone:
    """width: channels of the first stage, a multiple of 8. init: where weights start; this network has none to load."""
    return MyBackbone(width)
