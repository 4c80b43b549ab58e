"""my_method: another mask head.

The slot `mask_head` turns the features of a box into a mask. Read methods/shared/mask_heads.py for the whole contract.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from harness.contract import Card, Method, Part, Task
from methods.shared.mask_heads import DenseField, MaskHead
from methods.shared.roi_pooling import RoIPooler

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
    # Options are JSON values: they are written into every record, and typed as my_method(width=64). Those under
    # "small" are for presets that run on a CPU.
    parts={"mask_head": Part("my_method", f"{__name__}:build", {"width": 128}, {"small": {"width": 64}})},
)


class MyMaskHead(MaskHead):
    """Features of a box at 14 x 14, two 3x3 convolutions, one mask of 28 x 28 for all classes.

    The base class has what an engine reads besides: trains_on ("proposals" or "ground_truth"), max_train_boxes, jitter.
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
        """features: one (B, channels, h, w) map a stride. boxes: B tensors (R_b, 4), x0 y0 x1 y1 in input pixels.

        Returns the logits of all boxes, image after image: (R, K, S, S), K the classes, or 1 for one mask for all.
        """
        return DenseField(self.predictor(self.convs(self.pool(features, boxes))))


def build(task: Task, *, channels: int, strides: tuple[int, ...], width: int = 128) -> MyMaskHead:
    """channels, strides: of the feature maps, given by the engine. width: channels of the head."""
    return MyMaskHead(channels, strides, width)
