"""The default mask head (docs/methods.md#mask-r-cnn)."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from methods.mask_rcnn import FCNOptions
from methods.mask_rcnn.mask_head import build

STRIDES = (4, 8, 16, 32)


@pytest.mark.parametrize(("classes", "count"), [(80, 2_643_280), (3, 2_623_491), (1, 2_622_977)])
def test_parameter_counts(task_of: Any, classes: int, count: int) -> None:
    head = build(task_of(classes), FCNOptions(), channels=256, strides=STRIDES)
    assert sum(p.numel() for p in head.parameters()) == count


def test_check_4_masks_are_28_a_side(task_of: Any) -> None:
    head = build(task_of(3), FCNOptions(width=8), channels=16, strides=STRIDES)
    features = [torch.randn(2, 16, 128 // s, 128 // s) for s in STRIDES]
    boxes = [torch.tensor([[3.0, 4, 30, 40], [60, 60, 90, 70]]), torch.tensor([[5.0, 5, 100, 100]])]
    assert head(features, boxes).logits.shape == (3, 3, 28, 28)


@pytest.mark.parametrize("norm", [None, "GN"])
def test_every_parameter_and_the_features_receive_gradient(task_of: Any, norm: Any) -> None:
    head = build(task_of(2), FCNOptions(width=8, norm=norm), channels=16, strides=(4,))
    feature = torch.randn(1, 16, 16, 16, requires_grad=True)
    head([feature], [torch.tensor([[3.0, 4, 30, 40]])]).logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())
    assert feature.grad is not None
