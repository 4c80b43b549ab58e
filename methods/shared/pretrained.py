"""Backbones that start from a local file of weights, where nothing can be downloaded for them."""

from __future__ import annotations

from torch import nn

from harness.contract import Init
from harness.errors import HarnessError
from methods.shared.weights import load_matching, read_weights


def start_backbone(backbone: nn.Module, init: Init, name: str) -> None:
    """Fill the backbone as `init` says; tensors of the file that the backbone lacks (a classifier) are left out.

    Only kind "imagenet" concerns a backbone alone; "coco" and "checkpoint" are whole models, which engines load.
    Raises HarnessError where no file is named, or where it does not fit.
    """
    if init.kind != "imagenet" or init.restored:
        return
    if init.path is None:
        raise HarnessError(
            f"no ImageNet weights of {name} can be downloaded; pass a file with --init imagenet:FILE, or --init scratch"
        )
    load_matching(backbone, read_weights(init.path), str(init.path), may_differ=())
