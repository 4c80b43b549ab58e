"""The torchvision engine (docs/methods.md#torchvision-starter)."""

from __future__ import annotations

import pytest
import torch
from engine_fixtures import SMALL, discs, recipe, task

from harness.contract import Part
from methods.frameworks.torchvision.rcnn import network

FULL = {
    "depth": 50,
    "width": 256,
    "mask_width": 256,
    "box_head_width": 1024,
    "anchor_scale": 8,
    "anchor_ratios": (0.5, 1.0, 2.0),
}


@pytest.mark.parametrize(
    ("version", "classes", "frozen", "expected"),
    [
        (1, 90, True, 44_401_393),
        (1, 90, False, 44_454_513),
        (1, 1, False, 43_975_515),
        (1, 3, False, 43_986_279),
        (2, 90, False, 46_359_409),
        (2, 1, False, 45_880_411),
        (2, 3, False, 45_891_175),
    ],
)
def test_parameter_counts(version: int, classes: int, frozen: bool, expected: int) -> None:
    module = network(classes=classes, version=version, frozen_norm=frozen, **FULL)
    assert sum(p.numel() for p in module.parameters()) == expected


def test_same_network_as_torchvision_builds() -> None:
    """Names and shapes: so that its COCO files load."""
    from torchvision.models.detection import maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2

    for version, builder in ((1, maskrcnn_resnet50_fpn), (2, maskrcnn_resnet50_fpn_v2)):
        theirs = builder(weights=None, weights_backbone=None, num_classes=4).state_dict()
        ours = network(classes=3, version=version, frozen_norm=False, **FULL).state_dict()
        assert {n: v.shape for n, v in ours.items()} == {n: v.shape for n, v in theirs.items()}


@pytest.fixture
def model() -> object:
    torch.manual_seed(0)
    part = Part(
        "torchvision", "methods.frameworks.torchvision.rcnn:build", {"version": 1, "depth": 18, "mask_width": 16}
    )
    base = recipe().with_parts(engine=part)
    return base.engine.build(base, task(2, max_cells=359, **SMALL))


def test_losses_are_the_five_of_torchvision(model: object) -> None:
    model.module.train()  # type: ignore[attr-defined]
    losses = model.losses([discs(5, classes=2), discs(0, seed=1)])  # type: ignore[attr-defined]
    assert set(losses) == {
        "loss_classifier",
        "loss_box_reg",
        "loss_mask",
        "loss_objectness",
        "loss_rpn_box_reg",
    }
    sum(losses.values()).backward()


def test_empty_targets_train_without_nan(model: object) -> None:
    model.module.train()  # type: ignore[attr-defined]
    losses = model.losses([discs(0), discs(0, seed=1)])  # type: ignore[attr-defined]
    assert float(losses["loss_box_reg"].detach()) == 0
    assert float(losses["loss_mask"].detach()) == 0
    assert all(torch.isfinite(v) for v in losses.values())


def test_detections_follow_the_data_and_labels_leave_background_out(model: object) -> None:
    assert model.module.roi_heads.detections_per_img == 538  # type: ignore[attr-defined]
    model.module.eval()  # type: ignore[attr-defined]
    (found,) = model.predict([discs(5, side=70, height=50).image])  # type: ignore[attr-defined]
    assert set(found.labels.tolist()) <= {0, 1}
    assert found.masks.boxes[:, 2].max(initial=0) <= 70
