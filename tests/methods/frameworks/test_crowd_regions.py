"""Crowd regions are trained neither as cells nor as background, in both engines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from engine_fixtures import EVERYTHING, SMALL, discs, recipe, task
from torch import Tensor

from harness.contract import Instances, Part, Sample
from harness.masks.crops import CropMasks
from methods.frameworks.detectron2.instance_batch import InstanceBatch
from methods.frameworks.detectron2.rpn import Proposals, RPNOutputs

CPU = torch.device("cpu")
REGION = [0, 0, 48, 96]
NOTHING = discs(0)


def with_region() -> Sample:
    """An image without cells whose left half is a crowd region."""
    masks = CropMasks.from_crops([REGION], [np.ones((96, 48), np.uint8)])
    return NOTHING.with_(instances=Instances.of_masks(masks, np.zeros(1, np.int64), np.ones(1, np.bool_)))


def inside(boxes: Tensor) -> Tensor:
    x0, y0, x1, y1 = boxes.unbind(-1)
    return (x0 >= 0) & (y0 >= 0) & (x1 <= 48) & (y1 <= 96)


@pytest.fixture(scope="module")
def detectron2_model() -> Any:
    model = recipe().engine.build(recipe(), task(**{**SMALL, **EVERYTHING}))
    model.module.train()
    return model


@pytest.fixture(scope="module")
def torchvision_model() -> Any:
    part = Part("torchvision", "methods.frameworks.torchvision.rcnn:build", {"version": 1, "depth": 18})
    base = recipe().with_parts(engine=part)
    model = base.engine.build(base, task(**{**SMALL, **EVERYTHING}))
    model.module.train()
    return model


def test_anchors_in_a_region_have_no_objectness_loss(detectron2_model: Any) -> None:
    """Objectness is wrong at the anchors inside the region and right at all others."""
    network = detectron2_model.module
    features, found = network.dense_forward(network.preprocess([NOTHING.image]).tensor)
    rpn = network.proposal_generator
    anchors = rpn.anchors([features[name] for name in rpn.in_features])
    logits = torch.where(inside(anchors), 30.0, -30.0)[None]
    outputs = RPNOutputs(logits, found.deltas.detach(), found.anchors_per_level)

    def loss(sample: Sample) -> float:
        losses = rpn.compute_losses(outputs, anchors, InstanceBatch.from_samples([sample], 1.0, CPU))
        return float(losses["loss_rpn_cls"]) * 10**6

    assert loss(with_region()) < 1e-3
    assert loss(NOTHING) > 30 * int(inside(anchors).sum()) * 0.99


def test_proposals_in_a_region_are_not_sampled(detectron2_model: Any) -> None:
    boxes = torch.tensor([[[4.0, 4, 20, 20], [30, 10, 60, 30], [60, 60, 80, 80]]])
    proposals = Proposals(boxes, torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool))
    heads = detectron2_model.module.roi_heads

    def sampled(sample: Sample) -> list[list[float]]:
        found = heads.sample_proposals(proposals, InstanceBatch.from_samples([sample], 1.0, CPU))
        return sorted(found.boxes[found.sampled.valid].tolist())

    assert sampled(with_region()) == boxes[0, 2:].tolist()
    assert sampled(NOTHING) == sorted(boxes[0].tolist())


def test_a_cell_in_a_region_is_trained_as_ever(detectron2_model: Any) -> None:
    drawn = discs(1, seed=3)
    region, cell = with_region().instances, drawn.instances
    assert region.masks is not None
    assert cell.masks is not None
    masks = CropMasks.concatenate([region.masks, cell.masks])
    both = Instances.of_masks(masks, np.zeros(2, np.int64), np.array([True, False]))
    batch = InstanceBatch.from_samples([drawn.with_(instances=both)], 1.0, CPU)
    boxes = torch.from_numpy(cell.boxes.astype(np.float32))[None]
    proposals = Proposals(boxes, torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    found = detectron2_model.module.roi_heads.sample_proposals(proposals, batch)
    assert found.sampled.positive.all()
    assert batch.counts == [1]


def test_torchvision_samples_no_anchor_and_no_proposal_in_a_region(torchvision_model: Any) -> None:
    module = torchvision_model.module
    targets = [torchvision_model._to_target(with_region())]
    anchors = torch.tensor([[4.0, 4, 20, 20], [30, 10, 60, 30], [60, 60, 80, 80]])
    labels, _ = module.rpn.assign_targets_to_anchors([anchors], targets)
    assert labels[0].tolist() == [-1, -1, 0]
    proposals, _, classes, _ = module.roi_heads.select_training_samples([anchors], targets)
    assert proposals[0].tolist() == anchors[2:].tolist()
    assert classes[0].tolist() == [0]


def test_torchvision_has_finite_losses_where_all_is_a_region(torchvision_model: Any) -> None:
    masks = CropMasks.from_crops([[0, 0, 96, 96]], [np.ones((96, 96), np.uint8)])
    everything = Instances.of_masks(masks, np.zeros(1, np.int64), np.ones(1, np.bool_))
    losses = torchvision_model.losses([NOTHING.with_(instances=everything)])
    assert all(bool(torch.isfinite(value)) for value in losses.values())
