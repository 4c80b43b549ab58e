"""DeepMAC in its Mask R-CNN form: a deep, class-agnostic mask head trained on annotated boxes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from harness.contract import Card, Method, Part
from harness.options import Options, recorded_if_set

CROP_MULTIPLES = {
    "hourglass": {10: 2, 20: 4, 32: 8, 52: 32, 100: 32},
    "resnet": {4: 1, 8: 1, 12: 1, 16: 1, 20: 1},
}
"""By network and depth: the crop's side must be a multiple of this."""


class DeepMACOptions(Options):
    """Options of the mask head."""

    network: Literal["hourglass", "resnet"] = Field("hourglass", description="kind of network")
    depth: Literal[4, 8, 10, 12, 16, 20, 32, 52, 100] = Field(
        52, description="layers: hourglass 10, 20, 32, 52 or 100, resnet 4, 8, 12, 16 or 20"
    )
    width: int = Field(64, ge=1, description="channels of the first layer")
    crop: int = Field(32, ge=1, description="bins of an RoI crop along each axis; masks have twice as many")
    norm: Literal["BN", "GN"] = Field("BN", description="batch or group norm")
    max_train_boxes: int | None = Field(
        100, ge=1, description="most boxes of an image to train on in each step, drawn at random; none: all"
    )
    jitter: float = recorded_if_set(
        0.0, ge=0, lt=0.5, description="each side of a training box moves by up to this fraction of the box"
    )

    @model_validator(mode="after")
    def _check_network(self) -> DeepMACOptions:
        multiples = CROP_MULTIPLES[self.network]
        if self.depth not in multiples:
            raise ValueError(f"depth={self.depth} of {self.network} must be one of {', '.join(map(str, multiples))}")
        if self.crop % multiples[self.depth]:
            raise ValueError(f"crop={self.crop} must be a multiple of {multiples[self.depth]} with depth={self.depth}")
        return self


METHOD = Method(
    name="deepmac",
    card=Card(
        title="The surprising impact of mask-head architecture on novel class segmentation (Deep Mask-RCNN)",
        paper="Birodkar, Lu, Li, Rathod, Huang",
        year=2021,
        venue="ICCV",
        url="https://arxiv.org/abs/2104.00613",
        changes="replaces the mask head by an hourglass of 10 to 100 layers (or a ResNet of 4 to 20) on a 32x32 crop "
        "with one 64x64 mask for all classes, trained on annotated boxes alone instead of proposals",
        departures=(
            "preset size small: depth 10, width 32 instead of 64, a 16x16 crop (32x32 masks) and 12 boxes an image "
            "and step, so that a step costs no more than the default head's",
            "at most max_train_boxes annotated boxes an image and step (100, drawn at random): images hold hundreds "
            "of cells; the paper takes all",
            "batch norm averages with momentum 0.1 (PyTorch's meaning) throughout; the released code has 0.9 in the "
            "hourglass and 0.01 after it, too jumpy or too slow for short training; a channel with a single value is "
            "normalised by the running statistics",
            "targets are the masks averaged over the cells of the 64x64 grid, not a stored 112x112 crop resized; "
            "RoIAlign samples adaptively, not 2x2 a cell",
            "jitter of the training boxes is an option, off as in the paper",
        ),
        published={
            "mask head parameters, hourglass 52": "23,606,145",
            "hourglass parameters on 256 channels, depth 10 / 20 / 52": "1,723,776 / 5,649,152 / 23,573,120",
            "mask mAP on non-VOC classes, masks of VOC classes only, R50": "25.9 default head, 33.1 hourglass 52",
            "the same, hourglass 52, R101 / SpineNet-143": "34.4 / 38.7",
        },
    ),
    parts={
        "mask_head": Part(
            "DeepMAC hourglass",
            "methods.deepmac.mask_head:build",
            sizes={"small": {"depth": 10, "width": 32, "crop": 16, "max_train_boxes": 12}},
            options_type=DeepMACOptions,
        )
    },
)
