"""Initial weights of the detectron2 engine: models of the zoo, and checkpoints of earlier runs."""

from __future__ import annotations

from typing import Any

from harness.contract import Init, Part
from harness.errors import HarnessError
from methods.frameworks.detectron2.resnet import ZOO
from methods.shared.weights import download_weights, load_matching, read_weights

CLASS_HEADS = ("box_predictor.", "mask_head.predictor.", "mask_head.write.")
"""Layers as wide as the number of classes. They keep their random weights where the classes differ."""

ZOO_PREFIXES = (
    ("backbone.bottom_up.", "backbone.bottom_up.body.bottom_up."),
    ("roi_heads.mask_head.mask_fcn1.", "roi_heads.mask_head.convs.0."),
    ("roi_heads.mask_head.mask_fcn2.", "roi_heads.mask_head.convs.2."),
    ("roi_heads.mask_head.mask_fcn3.", "roi_heads.mask_head.convs.4."),
    ("roi_heads.mask_head.mask_fcn4.", "roi_heads.mask_head.convs.6."),
    ("roi_heads.mask_head.deconv.", "roi_heads.mask_head.deconv.0."),
)
"""Prefixes of names in the zoo's files, and those of the same layers here."""


def load(module: Any, init: Init, backbone: Part) -> None:
    """Load the weights of `init` into `module`, for the kinds "coco" and "checkpoint".

    Backbones load "imagenet" themselves.

    Raises:
        HarnessError: The weights cannot be had or do not fit. There is no fallback to random weights.
    """
    if init.restored:
        return
    if init.kind == "checkpoint":
        load_matching(module, read_weights(str(init.path)), str(init.path), CLASS_HEADS)
    elif init.kind == "coco":
        path = init.path or download_weights(coco_url(backbone), f"COCO Mask R-CNN ({backbone.name})")
        new_head = () if hasattr(module.roi_heads.mask_head, "convs") else ("roi_heads.mask_head.",)
        weights = {_our_name(name): value for name, value in read_weights(path).items()}
        load_matching(module, weights, str(path), CLASS_HEADS + new_head)


def coco_url(backbone: Part) -> str:
    """URL of the zoo's COCO model with this backbone. Raises HarnessError if there is none."""
    from detectron2 import model_zoo

    config = ZOO.get((backbone.options.get("depth", 50), backbone.options.get("groups", 1)))
    if backbone.name != "resnet" or config is None:
        raise HarnessError(
            f"the zoo has no COCO model with backbone {backbone.name} {dict(backbone.options)}; "
            "use --init imagenet or --init scratch"
        )
    return str(model_zoo.get_checkpoint_url(config))


def _our_name(name: str) -> str:
    for zoo_prefix, prefix in ZOO_PREFIXES:
        if name.startswith(zoo_prefix):
            return prefix + name.removeprefix(zoo_prefix)
    return name
