"""ImageNet weights from a local file, for backbones whose weights cannot be downloaded."""

from __future__ import annotations

from torch import nn

from harness.contract import Init
from harness.errors import NoWeightsError
from methods.shared.weights import load_matching, read_weights

IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""RGB, 0 to 255: the statistics that most backbones of timm and torchvision were trained with."""


def load_imagenet_backbone(backbone: nn.Module, init: Init, name: str) -> None:
    """Load `init.path` into the backbone where `init` is of kind "imagenet"; do nothing otherwise.

    "coco" and "checkpoint" are weights of whole models, which the engines load. Tensors of the file that the backbone
    does not have, such as a classifier, are ignored.

    Raises:
        NoWeightsError: No file is given, or it does not fit.
    """
    if init.kind != "imagenet" or init.restored:
        return
    if init.path is None:
        raise NoWeightsError(
            f"no ImageNet weights of {name} can be downloaded; pass a file with --init imagenet:FILE, or --init scratch"
        )
    load_matching(backbone, read_weights(init.path), str(init.path), may_differ=())
