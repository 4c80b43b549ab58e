"""my_method: another mask head.

The slot `mask_head` turns the features of a box into a mask. Read methods/shared/mask_heads.py for the whole contract.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor, nn

from harness.contract import Card, Method, Part, Task
from harness.options import Options
from methods.shared.mask_heads import DenseField, MaskHead
from methods.shared.roi_pooling import RoIPooler


class MyMethodOptions(Options):
    """What a user may set, as in my_method(width=64): type, default, range and one line of help.

    Values are JSON values and are written into every record. A wrong name or value is one clear line before training.
    """

    width: int = Field(128, ge=1, description="channels of the head")


METHOD = Method(
    name="my_method",
    # Fill in the card: `python -m harness methods my_method` prints it.
    card=Card(
        title="my_method",
        paper="unpublished",
        year=2021,
        venue="none",
        changes="mask_head: says in one sentence what it does to the recipe",
        labels="full masks",
        departures=(),
    ),
    parts={
        "mask_head": Part(
            "my_method",
            f"{__name__}:build",
            sizes={"small": {"width": 64}},  # other defaults for presets that run on a CPU
            options_type=MyMethodOptions,
        )
    },
)


class MyMaskHead(MaskHead):
    """A 14x14 crop of the features, two 3x3 convolutions, one 28x28 mask for all classes.

    The base class has the other attributes that an engine reads: trains_on, max_train_boxes, jitter.
    """

    def __init__(self, channels: int, strides: Sequence[int], width: int) -> None:
        super().__init__()
        self.pool = RoIPooler(14, strides)
        self.convs = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(width, width, 2, 2),
            nn.ReLU(inplace=True),
        )
        self.predictor = nn.Conv2d(width, 1, 1)

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> DenseField:
        """Mask logits of all boxes, image after image.

        Args:
            features: One (B, channels, h, w) map for each stride.
            boxes: B tensors (R_b, 4), x0 y0 x1 y1 in pixels of the network's input.

        Returns:
            (R, K, S, S), R the boxes of all images, K the number of classes, or 1 for one mask for all classes.
        """
        return DenseField(self.predictor(self.convs(self.pool(features, boxes))))


def build(task: Task, options: MyMethodOptions, *, channels: int, strides: tuple[int, ...]) -> MyMaskHead:
    """channels, strides: of the feature maps, given by the engine."""
    return MyMaskHead(channels, strides, options.width)
