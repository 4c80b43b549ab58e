"""RoIAlign by embedding bags gives torchvision's numbers, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import roi_align

from methods.shared.roi_align_embedding_bag import roi_align_embedding_bag


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [7, 14])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_equals_torchvision(size: int, sampling_ratio: int, threads: int) -> None:
    torch.manual_seed(0)
    feature = torch.randn(3, 5, 20, 30)
    corner = torch.rand(40, 2) * torch.tensor([120.0, 80.0])
    extent = torch.rand(40, 2) ** 2 * 120
    limit = torch.tensor([120.0, 80.0])
    boxes = torch.cat([corner, torch.minimum(corner + extent, limit)], dim=1)
    boxes[:5] = torch.tensor(
        [[0.0, 0, 120, 80], [119, 79, 120, 80], [-10, -10, 130, 90], [7, 7, 7, 20], [300, 300, 400, 400]]
    )
    rois = torch.cat([torch.randint(0, 3, (40, 1)).float(), boxes], dim=1)
    ours_of, theirs_of = feature.clone().requires_grad_(), feature.clone().requires_grad_()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours = roi_align_embedding_bag(ours_of, rois, size, 0.25, sampling_ratio).permute(0, 3, 1, 2)
        theirs = roi_align(theirs_of, rois, size, 0.25, sampling_ratio, aligned=True)
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
        weights = torch.randn_like(theirs)
        (ours * weights).sum().backward()
        (theirs * weights).sum().backward()
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(ours_of.grad, theirs_of.grad, atol=1e-3, rtol=1e-4)


def test_the_same_each_time() -> None:
    """Bit for bit, forward and backward: runs are repeated exactly on a CPU."""
    torch.manual_seed(0)
    feature = torch.randn(2, 16, 32, 32, requires_grad=True)
    corner = torch.rand(300, 2) * 90
    rois = torch.cat([torch.randint(0, 2, (300, 1)).float(), corner, corner + 1 + torch.rand(300, 2) * 37], dim=1)
    results = []
    for _ in range(3):
        out = roi_align_embedding_bag(feature, rois, 7, 0.25, 0)
        results.append((out, *torch.autograd.grad(out.square().sum(), feature)))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_gradient_of_a_map_in_bfloat16() -> None:
    feature = torch.randn(1, 4, 8, 8, dtype=torch.bfloat16, requires_grad=True)
    roi_align_embedding_bag(feature, torch.tensor([[0.0, 2, 2, 20, 20]]), 7, 0.25, 0).sum().backward()
    assert feature.grad is not None
    assert feature.grad.dtype == torch.bfloat16
    assert feature.grad.sum().item() == pytest.approx(4 * 49, rel=0.02)


def test_no_boxes() -> None:
    assert roi_align_embedding_bag(torch.zeros(2, 3, 4, 4), torch.zeros(0, 5), 7, 0.25, 0).shape == (0, 7, 7, 3)
