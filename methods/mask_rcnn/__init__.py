"""The baseline: Mask R-CNN with a ResNet-FPN on detectron2. It fills every slot; other methods change one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.contract import Card, Method, Part
from harness.options import Options, recorded_if_set
from methods.frameworks.detectron2.settings import Detectron2Options, Detectron2Settings, Heads, ResNetOptions

REQUIREMENTS = {"detectron2": "python -m methods.frameworks.detectron2.install"}
"""Packages that are not on the package index, and the command that installs them. A build from source works too."""


class FCNOptions(Options):
    """Options of the mask head."""

    width: int | None = recorded_if_set(None, ge=1, description="channels of the head; none: those of the pyramid")
    convs: int = recorded_if_set(4, ge=0, description="3x3 convolutions")
    crop: int = recorded_if_set(14, ge=1, description="bins of an RoI crop along each axis; masks have twice as many")
    norm: Literal["BN", "GN"] | None = recorded_if_set(None, description="norm after each convolution")
    sampling_ratio: int = recorded_if_set(
        0, ge=0, description="samples of a bin along each axis; 0: one for each pixel"
    )
    heads: Heads = recorded_if_set("default", description="scratch_gn: group norm after each convolution")


class FlipOptions(Options):
    """Options of the augmentation."""

    hflip: float = Field(0.5, ge=0, le=1, description="probability of mirroring left to right")
    vflip: float = Field(0.5, ge=0, le=1, description="probability of mirroring top to bottom")


ENGINE = Part(
    "detectron2",
    "methods.frameworks.detectron2.rcnn:build",
    options_type=Detectron2Options,
    settings=Detectron2Settings,
)
MASK_HEAD = Part("fcn", "methods.mask_rcnn.mask_head:build", sizes={"small": {"width": 64}}, options_type=FCNOptions)
SUPERVISION = Part("full_masks", "methods.shared.supervision:build")
AUGMENT = Part("flips", "methods.mask_rcnn.augment:build", options_type=FlipOptions)

PAPER = {
    "paper": "Mask R-CNN (He, Gkioxari, Dollár, Girshick)",
    "year": 2017,
    "venue": "ICCV",
    "url": "https://arxiv.org/abs/1703.06870",
}
DEPARTURES = (
    "From scratch: group norm in backbone and pyramid and no frozen stages, since batches are small. The zoo's own "
    "configurations for training from scratch have it in the heads too, and a box head of four convolutions and one "
    "hidden layer (45,296,738 parameters with 3 classes, here 43,983,970); mask_rcnn(heads=scratch_gn) is that "
    "network.",
    "Anchors, proposals and detections an image follow the cells of the data set, not COCO's objects.",
)
SMALL = "Preset size small: {}a 128-channel pyramid and narrower heads, so that it trains on a CPU."


def _variant(name: str, title: str, depth: int, groups: int, published: dict[str, str], baseline: bool) -> Method:
    small = {"depth": 18, "groups": 1} if baseline else {}
    backbone = Part(
        "resnet",
        "methods.frameworks.detectron2.resnet:build",
        {"depth": depth, "groups": groups},
        {"small": small},
        options_type=ResNetOptions,
    )
    parts = {"backbone": backbone}
    if baseline:
        parts |= {"engine": ENGINE, "mask_head": MASK_HEAD, "supervision": SUPERVISION, "augment": AUGMENT}
    card = Card(
        title=title,
        changes="fills every slot: the recipe that all others change" if baseline else f"backbone: {title}",
        departures=(*DEPARTURES, SMALL.format("ResNet-18, " if baseline else "")),
        published=published,
        **PAPER,  # type: ignore[arg-type]
    )
    failures = {} if baseline else {"overfits_one_batch": "101 layers from scratch need more than 30 steps"}
    return Method(name, card, parts, default=baseline, baseline=baseline, expected_failures=failures)


METHODS = (
    _variant(
        "mask_rcnn",
        "Mask R-CNN, ResNet-FPN",
        50,
        1,
        {
            "parameters (R50, 80 classes)": "44,343,216",
            "parameters from scratch with heads=scratch_gn (R50, 80 / 3 classes)": "45,711,152 / 45,296,738",
            "COCO val2017, R50 3x (detectron2 zoo)": "box AP 41.0, mask AP 37.2",
            "training, 8 V100, batch 16": "0.261 s/it, 3.4 GB",
            "inference, V100": "0.043 s/image",
        },
        baseline=True,
    ),
    _variant(
        "mask_rcnn_r101",
        "ResNet-101-FPN",
        101,
        1,
        {
            "parameters (80 classes)": "63,283,120",
            "COCO val2017, 3x (detectron2 zoo)": "box AP 42.9, mask AP 38.6",
            "training, 8 V100, batch 16": "0.340 s/it, 4.6 GB",
        },
        baseline=False,
    ),
    _variant(
        "mask_rcnn_x101",
        "ResNeXt-101-32x8d-FPN",
        101,
        32,
        {
            "parameters (80 classes)": "107,427,760",
            "COCO val2017, 3x (detectron2 zoo)": "box AP 44.3, mask AP 39.5",
            "training, 8 V100, batch 16": "0.690 s/it, 7.2 GB",
        },
        baseline=False,
    ),
)
