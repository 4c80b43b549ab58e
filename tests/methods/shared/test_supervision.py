"""Full masks through a dense field (docs/methods.md#mask-r-cnn)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from methods.shared.mask_heads import DenseField
from methods.shared.supervision import FullMasks, build


def _half_masks(labels_of: Any) -> Any:
    """Two 8 x 8 masks: all of the box, and its left half."""
    planes = np.zeros((2, 20, 20), np.uint8)
    planes[0, 2:10, 2:10] = 1
    planes[1, 2:10, 2:6] = 1
    return labels_of(planes, torch.tensor([[2.0, 2, 10, 10], [2, 2, 10, 10]]))


def test_loss_is_the_mean_cross_entropy_of_the_class_channel(task_of: Any, labels_of: Any) -> None:
    logits = torch.full((2, 3, 4, 4), 50.0)
    logits[0, 2], logits[1, 1] = 1.0, -2.0
    loss = build(task_of(3)).loss(DenseField(logits), _half_masks(labels_of), torch.tensor([2, 1]))
    right, left = math.log(1 + math.exp(-1)), math.log(1 + math.exp(2))
    expected = (16 * right + 8 * left + 8 * math.log(1 + math.exp(-2))) / 32
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_a_bin_half_covered_is_inside(task_of: Any, labels_of: Any) -> None:
    planes = np.zeros((1, 8, 8), np.uint8)
    planes[0, :, 1:] = 1
    target = labels_of(planes, torch.tensor([[0.0, 0, 8, 8]]))
    assert target.masks_on_grid(4)[0, 0, 0].item() == 0.5
    loss = FullMasks().loss(DenseField(torch.full((1, 1, 4, 4), 100.0)), target, torch.zeros(1, dtype=torch.long))
    assert loss.item() < 1e-6


def test_penalty_is_added(labels_of: Any) -> None:
    class Dear(DenseField):
        def penalty(self) -> torch.Tensor:
            return torch.tensor(7.0)

    target, classes = _half_masks(labels_of), torch.zeros(2, dtype=torch.long)
    plain, dear = DenseField(torch.zeros(2, 1, 4, 4)), Dear(torch.zeros(2, 1, 4, 4))
    assert FullMasks().loss(dear, target, classes) - FullMasks().loss(plain, target, classes) == 7
