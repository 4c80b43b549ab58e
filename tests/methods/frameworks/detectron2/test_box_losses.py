"""Box regression targets and loss are those of detectron2."""

from __future__ import annotations

import torch
from detectron2.modeling.box_regression import Box2BoxTransform
from engine_fixtures import boxes

from methods.frameworks.detectron2.box_losses import box_regression_loss, encode_boxes

WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def test_encoded_boxes_are_those_of_detectron2() -> None:
    generator = torch.Generator().manual_seed(0)
    here, there = boxes(50, 20, generator), boxes(50, 20, generator)
    theirs = Box2BoxTransform(weights=WEIGHTS).get_deltas(here, there)
    torch.testing.assert_close(encode_boxes(here, there, WEIGHTS), theirs, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(
        encode_boxes(here.reshape(5, 10, 4), there.reshape(5, 10, 4), WEIGHTS).reshape(50, 4),
        theirs,
        rtol=1e-5,
        atol=1e-4,
    )


def test_targets_of_negative_boxes_need_not_be_boxes() -> None:
    given = torch.zeros(2, 4, requires_grad=True)
    here = torch.tensor([[0.0, 0, 10, 10], [0, 0, 0, 0]])
    there = torch.tensor([[5.0, 0, 15, 10], [0, 0, 0, 0]])
    loss = box_regression_loss(given, here, there, torch.tensor([True, False]), (1.0, 1.0, 1.0, 1.0))
    loss.backward()
    assert float(loss.detach()) == 0.5
    assert given.grad is not None
    assert given.grad.tolist() == [[-1, 0, 0, 0], [0, 0, 0, 0]]
