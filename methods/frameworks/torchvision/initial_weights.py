"""Where the weights of the torchvision engine start, and what of the network follows from it.

Source: `torchvision/models/detection/mask_rcnn.py` and `backbone_utils.py`; docs/methods.md#torchvision-starter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torchvision.models.detection import MaskRCNN
from torchvision.ops import FrozenBatchNorm2d

from harness.contract import Init, LoadedWeights
from harness.errors import NoWeightsError
from methods.shared.initial_weights import ClassHead, load_initial, load_tensors, loaded_parts, pixel_facts
from methods.shared.weights import COUNTERS, download_weights, load_matching, read_weights

CLASS_HEADS = (
    ClassHead("box_predictor.cls_score.", before=1),
    ClassHead("box_predictor.bbox_pred.", before=4),
    ClassHead("mask_predictor.mask_fcn_logits.", before=1),
)
"""Layers with rows for background and each class."""

ANCHOR_HEADS = ("rpn.head.cls_logits.", "rpn.head.bbox_pred.")
"""Layers as wide as the number of anchors at a place, which follows from the shapes of cells. New where it differs."""

MARK = "start"
"""Name of the buffer of the transform that states, in stored weights, what the network was trained from."""

STARTS: tuple[Literal["imagenet", "coco"], ...] = ("imagenet", "coco")
"""The kinds of start by the number in that buffer."""

FROZEN_STAGES = ("conv1.", "bn1.", "layer1.")
"""What torchvision does not train of a ResNet with ImageNet weights: all but its last three stages."""


@dataclass(frozen=True)
class Start:
    """What a network was, or is to be, trained from.

    Attributes:
        kind: Of the weights before any training with this harness.
        marked: Whether stored weights state it. Those of version 0.1 do not.
    """

    kind: Literal["scratch", "imagenet", "coco"]
    marked: bool

    @staticmethod
    def of(init: Init) -> Start:
        """For a checkpoint or a finished run, read from the stored weights."""
        if init.kind == "scratch":
            return Start("scratch", marked=False)
        stored = init.kind == "checkpoint" or (init.restored and Path(str(init.path)).is_file())
        if init.kind != "checkpoint" and not stored:
            return Start(init.kind, marked=True)
        weights = read_weights(str(init.path))
        mark = weights.get(f"transform.{MARK}")
        if mark is not None:
            return Start(STARTS[int(mark)], marked=True)
        frozen = not any(name.startswith("backbone.body.") and name.endswith(COUNTERS) for name in weights)
        # version 0.1 trained a network with ImageNet weights as one from scratch
        return Start("coco" if frozen or init.kind == "coco" else "scratch", marked=False)

    def frozen_norm(self, version: int) -> bool:
        """Whether the batch norms of the ResNet are frozen: in version 1 with pretrained weights."""
        return version == 1 and self.kind != "scratch"

    def apply(self, module: MaskRCNN) -> None:
        """Freeze stages, set the epsilon of frozen norms, and mark the network."""
        if self.kind == "scratch" or not self.marked:
            return
        module.transform.register_buffer(MARK, torch.tensor(STARTS.index(self.kind)))
        if self.kind == "imagenet":
            for name, parameter in module.backbone.body.named_parameters():
                parameter.requires_grad_(not name.startswith(FROZEN_STAGES))
        else:
            for part in module.modules():
                if isinstance(part, FrozenBatchNorm2d):
                    part.eps = 0.0  # `overwrite_eps`: with 1e-5 the weights of COCO_V1 compute something else


def load(module: MaskRCNN, init: Init, version: int, depth: int, classes: Sequence[str]) -> LoadedWeights | None:
    """Load the weights of `init` into the network.

    Returns:
        What was taken over; None from scratch.

    Raises:
        HarnessError: The weights cannot be had; NoWeightsError where there are none or they do not fit. There is no
            fallback to random weights.
    """
    from torchvision.models import ResNet50_Weights
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_V2_Weights, MaskRCNN_ResNet50_FPN_Weights

    if init.kind == "scratch" or init.restored:
        return None
    mean, std = (255 * torch.as_tensor(values) for values in (module.transform.image_mean, module.transform.image_std))
    read: dict[str, Any] = {**pixel_facts(mean, std), "channel_order": "RGB"}
    mark = f"transform.{MARK}"
    if init.kind == "checkpoint":
        return replace(load_initial(module, init, classes, CLASS_HEADS, (mark, *ANCHOR_HEADS)), **read)
    if depth != 50 and init.path is None:
        raise NoWeightsError(f"torchvision has no weights for ResNet-{depth}: give a file, or take --preset standard")
    if init.kind == "imagenet":
        path = init.path or download_weights(ResNet50_Weights.IMAGENET1K_V1.url, "ImageNet ResNet-50")
        load_matching(module.backbone.body, read_weights(path), str(path), ())
        return replace(loaded_parts(module.state_dict(), "backbone.body."), **read)
    chosen = MaskRCNN_ResNet50_FPN_V2_Weights if version == 2 else MaskRCNN_ResNet50_FPN_Weights
    path = init.path or download_weights(chosen.COCO_V1.url, "COCO Mask R-CNN")
    weights = read_weights(path)
    return replace(load_tensors(module, weights, str(path), (), classes, CLASS_HEADS, (mark, *ANCHOR_HEADS)), **read)
