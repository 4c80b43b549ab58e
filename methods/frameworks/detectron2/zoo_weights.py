"""Where the weights of the detectron2 engine start: COCO models of the zoo, and checkpoints of earlier runs."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from harness.contract import Init, Part
from harness.errors import HarnessError
from methods.frameworks.detectron2.resnet import ZOO
from methods.shared.weights import fetch, load_matching, read_weights

CLASS_HEADS = ("box_predictor.", "mask_head.predictor.", "mask_head.write.")
"""Layers as wide as the number of classes: they start anew where the classes differ."""

RENAMED = (
    ("backbone.bottom_up.", "backbone.bottom_up.body.bottom_up."),
    ("roi_heads.mask_head.mask_fcn1.", "roi_heads.mask_head.convs.0."),
    ("roi_heads.mask_head.mask_fcn2.", "roi_heads.mask_head.convs.2."),
    ("roi_heads.mask_head.mask_fcn3.", "roi_heads.mask_head.convs.4."),
    ("roi_heads.mask_head.mask_fcn4.", "roi_heads.mask_head.convs.6."),
    ("roi_heads.mask_head.deconv.", "roi_heads.mask_head.deconv.0."),
)
"""The zoo's prefixes and what the same layers are called here."""


def load(module: Any, init: Init, backbone: Part) -> None:
    """Fill `module` as `init` says; "scratch" and "imagenet" leave it alone (a backbone fetches its own).

    Raises HarnessError where the weights cannot be had or do not fit. Never falls back to random weights.
    """
    if init.restored:
        return
    if init.kind == "checkpoint":
        load_matching(module, read_weights(str(init.path)), str(init.path), CLASS_HEADS)
    elif init.kind == "coco":
        path = init.path or fetch(coco_url(backbone), f"COCO Mask R-CNN ({backbone.name})")
        new_head = () if hasattr(module.roi_heads.mask_head, "convs") else ("roi_heads.mask_head.",)
        weights = {_renamed(name): value for name, value in read_weights(path).items()}
        load_matching(module, weights, str(path), CLASS_HEADS + new_head)


def coco_url(backbone: Part) -> str:
    """Where the zoo keeps the COCO model with this backbone. Raises HarnessError where it has none."""
    from detectron2 import model_zoo

    config = ZOO.get((backbone.options.get("depth", 50), backbone.options.get("groups", 1)))
    if backbone.name != "resnet" or config is None:
        raise HarnessError(
            f"the zoo has no COCO model with backbone {backbone.name} {dict(backbone.options)}; "
            "use --init imagenet or --init scratch"
        )
    return str(model_zoo.get_checkpoint_url(config))


def _renamed(name: str) -> str:
    for theirs, ours in RENAMED:
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def imagenet_bottom_up(bottom_up: nn.Module, config_weights: str, path: str | None) -> None:
    """Fill a detectron2 ResNet from its ImageNet file, given or fetched, in detectron2's or Caffe2's naming."""
    from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts
    from detectron2.utils.file_io import PathManager

    if path is None:
        try:
            path = PathManager.get_local_path(config_weights)
        except Exception as error:  # iopath wraps every network error differently
            raise HarnessError(
                f"the ImageNet weights {config_weights} could not be downloaded ({type(error).__name__}); fetch the "
                "file elsewhere and pass it with --init imagenet:FILE, or use --init scratch"
            ) from error
    weights: dict[str, Tensor] = read_weights(path)
    caffe2 = any(name.endswith("_w") for name in weights)
    aligned = align_and_update_state_dicts(bottom_up.state_dict(), weights, c2_conversion=caffe2)
    load_matching(bottom_up, aligned, str(path), ())
