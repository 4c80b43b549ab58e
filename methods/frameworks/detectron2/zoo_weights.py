"""Initial weights of the detectron2 engine: models of the zoo, and checkpoints of earlier runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.contract import Init, LoadedWeights, Part
from harness.errors import NoWeightsError
from methods.frameworks.detectron2.resnet import ZOO
from methods.shared.initial_weights import ClassHead, load_initial, load_tensors, loaded_parts, pixel_facts
from methods.shared.weights import download_weights, read_weights

CLASS_HEADS = (
    ClassHead("box_predictor.cls_score.", after=1),
    ClassHead("box_predictor.bbox_pred."),
    ClassHead("mask_head.predictor."),
    ClassHead("mask_head.write.", shared=True),
)
"""Layers as wide as the number of classes."""

ANCHOR_HEADS = ("rpn_head.objectness_logits.", "rpn_head.anchor_deltas.")
"""Layers as wide as the number of anchors at a place, which follows from the shapes of cells. New where it differs."""

MASK_HEAD = "roi_heads.mask_head."
"""Beginning of the names of the mask head's tensors."""

ZOO_PREFIXES = (
    ("backbone.bottom_up.", "backbone.bottom_up.body.bottom_up."),
    ("roi_heads.mask_head.mask_fcn1.", "roi_heads.mask_head.convs.0."),
    ("roi_heads.mask_head.mask_fcn2.", "roi_heads.mask_head.convs.2."),
    ("roi_heads.mask_head.mask_fcn3.", "roi_heads.mask_head.convs.4."),
    ("roi_heads.mask_head.mask_fcn4.", "roi_heads.mask_head.convs.6."),
    ("roi_heads.mask_head.deconv.", "roi_heads.mask_head.deconv.0."),
)
"""Prefixes of names in the zoo's files, and those of the same layers here."""


def load(module: Any, init: Init, backbone: Part, classes: Sequence[str]) -> LoadedWeights | None:
    """Load the weights of `init` into `module`, for the kinds "coco" and "checkpoint".

    Backbones load "imagenet" themselves.

    Returns:
        What was taken over; None from scratch.

    Raises:
        HarnessError: The weights cannot be had; NoWeightsError where they do not fit. There is no fallback to random
            weights.
    """
    if init.restored or init.kind == "scratch":
        return None
    if init.kind == "imagenet":
        loaded = loaded_parts(module.state_dict(), ".body.")
    elif init.kind == "checkpoint":
        new = (MASK_HEAD,) if "mask_head" in init.new_parts else ()
        loaded = load_initial(module, init, classes, CLASS_HEADS, ANCHOR_HEADS, new)
    else:
        path = init.path or download_weights(coco_url(backbone), f"COCO Mask R-CNN ({backbone.name})")
        new_head = () if hasattr(module.roi_heads.mask_head, "convs") else (MASK_HEAD,)
        weights = {_our_name(name): value for name, value in read_weights(path).items()}
        loaded = load_tensors(module, weights, str(path), (), classes, CLASS_HEADS, (*new_head, *ANCHOR_HEADS))
    body = getattr(module.backbone, "bottom_up", module.backbone).body
    return replace(
        loaded,
        **pixel_facts(module.pixel_mean, module.pixel_std),
        channel_order=module.channel_order,
        stride_in_1x1=bool(body.config.MODEL.RESNETS.STRIDE_IN_1X1) if hasattr(body, "config") else None,
    )


def coco_url(backbone: Part) -> str:
    """URL of the zoo's COCO model with this backbone. Raises NoWeightsError if there is none."""
    from detectron2 import model_zoo

    config = ZOO.get((backbone.options.get("depth", 50), backbone.options.get("groups", 1)))
    if backbone.name != "resnet" or config is None:
        raise NoWeightsError(
            f"the zoo has no COCO model with backbone {backbone.name} {dict(backbone.options)}; "
            "use --init imagenet or --init scratch"
        )
    return str(model_zoo.get_checkpoint_url(config))


def _our_name(name: str) -> str:
    for zoo_prefix, prefix in ZOO_PREFIXES:
        if name.startswith(zoo_prefix):
            return prefix + name.removeprefix(zoo_prefix)
    return name
