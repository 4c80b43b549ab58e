"""A COCO model of detectron2's zoo computes here what detectron2's own network computes with the same file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling import build_model
from engine_fixtures import SMALL, recipe, task

from harness.contract import Part
from methods.frameworks.detectron2.resnet import zoo_config

WIDTH = SMALL["width"]


def zoo_network() -> Any:
    """detectron2's, narrow but for the ResNet-50, with weights and statistics drawn at random."""
    config = zoo_config(50)
    config.MODEL.DEVICE, config.MODEL.WEIGHTS = "cpu", ""
    config.MODEL.FPN.OUT_CHANNELS = WIDTH
    config.MODEL.RPN.CONV_DIMS = [-1]
    config.MODEL.ROI_MASK_HEAD.CONV_DIM = WIDTH
    config.MODEL.ROI_BOX_HEAD.FC_DIM = SMALL["box_head_width"]
    config.MODEL.ANCHOR_GENERATOR.SIZES = [[8], [16], [32], [64], [128]]
    torch.manual_seed(0)
    network = build_model(config).eval()
    for module in network.modules():
        if isinstance(module, FrozenBatchNorm2d):
            for value, low, high in (
                (module.running_mean, -0.3, 0.3), (module.running_var, 0.5, 2.0), (module.weight, 0.3, 0.8)
            ):  # fmt: skip
                value.uniform_(low, high)
    return network


def same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found.contiguous(), wanted, rtol=0, atol=float(1e-5 * wanted.abs().max()))


@torch.no_grad()
def test_maps_proposals_boxes_and_masks_are_detectron2s(tmp_path: Path) -> None:
    theirs = zoo_network()
    weights = {name: value.numpy() for name, value in theirs.state_dict().items()}
    path = tmp_path / "model_final.pkl"
    path.write_bytes(pickle.dumps({"model": weights, "__author__": "Detectron2 Model Zoo"}))
    DetectionCheckpointer(theirs).load(str(path))
    resnet = Part("resnet", "methods.frameworks.detectron2.resnet:build", {"depth": 50})
    base = recipe("full", init="coco", path=str(path)).with_parts(backbone=resnet)
    model = base.engine.build(base, task(80, **SMALL))
    ours = model.module.eval()

    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    x = theirs.preprocess_image([{"image": torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)}]).tensor
    same(ours.preprocess([image]).tensor, x)
    wanted, found = theirs.backbone(x), ours.backbone(x)
    for name in ("p2", "p3", "p4", "p5", "p6"):
        same(found[name], wanted[name])
    for one, other in zip(
        ours.proposal_generator.rpn_head(list(wanted.values())),
        theirs.proposal_generator.rpn_head(list(wanted.values())),
        strict=True,
    ):
        for mine, its in zip(one, other, strict=True):
            same(mine, its)
    pooled = torch.randn(5, WIDTH, 7, 7)
    heads = theirs.roi_heads
    for mine, its in zip(
        ours.roi_heads.box_predictor(ours.roi_heads.box_head(pooled)),
        heads.box_predictor(heads.box_head(pooled)),
        strict=True,
    ):
        same(mine, its)
    crops, head = torch.randn(5, WIDTH, 14, 14), ours.roi_heads.mask_head
    same(head.predictor(head.deconv(head.convs(crops)).relu()), heads.mask_head.layers(crops))
    assert model.loaded.channel_order == "BGR"
    assert model.loaded.stride_in_1x1
    assert model.loaded.pixel_mean == pytest.approx((103.53, 116.28, 123.675))
    assert {fate for counts in model.loaded.groups.values() for fate in counts} == {"kept"}
