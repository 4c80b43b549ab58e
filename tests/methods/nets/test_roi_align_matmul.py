"""RoIAlign by matrix products gives torchvision's numbers, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import roi_align

from methods.nets.roi_align_matmul import pays, roi_align_matmul


@pytest.mark.parametrize("size", [7, 14])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_equals_torchvision(size: int, sampling_ratio: int) -> None:
    torch.manual_seed(0)
    feature = torch.randn(3, 5, 20, 30, requires_grad=True)
    corner = torch.rand(40, 2) * torch.tensor([120.0, 80.0])
    extent = torch.rand(40, 2) ** 2 * 120
    limit = torch.tensor([120.0, 80.0])
    boxes = torch.cat([corner, torch.minimum(corner + extent, limit)], dim=1)
    boxes[:3] = torch.tensor([[0.0, 0, 120, 80], [119, 79, 120, 80], [-10, -10, 130, 90]])
    rois = torch.cat([torch.randint(0, 3, (40, 1)).float(), boxes], dim=1)
    ours = roi_align_matmul(feature, rois, size, 0.25, sampling_ratio)
    theirs = roi_align(feature, rois, size, 0.25, sampling_ratio, aligned=True)
    assert torch.allclose(ours, theirs, atol=1e-4)
    upstream = torch.randn_like(ours)
    (mine,) = torch.autograd.grad(ours, feature, upstream)
    (expected,) = torch.autograd.grad(theirs, feature, upstream)
    assert torch.allclose(mine, expected, atol=1e-3)


def test_no_boxes() -> None:
    assert roi_align_matmul(torch.zeros(2, 3, 4, 4), torch.zeros(0, 5), 7, 0.25, 0).shape == (0, 3, 7, 7)


def test_taken_only_where_it_pays() -> None:
    assert pays(torch.zeros(1, 1, 32, 32, requires_grad=True))
    assert not pays(torch.zeros(1, 1, 32, 32))
    assert not pays(torch.zeros(1, 1, 130, 176, requires_grad=True))
