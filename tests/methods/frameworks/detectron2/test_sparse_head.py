"""The proposal network's head has the outputs and gradients of detectron2's, whichever anchors have a gradient."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from detectron2.modeling.proposal_generator.rpn import StandardRPNHead
from torch import Tensor

from methods.frameworks.detectron2.sparse_head import sparse_head_outputs

SIZES = ((6, 5), (3, 3), (1, 2), (1, 1))


def dense(head: Any, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
    logits, deltas = head(maps)
    flat = [x.permute(0, 2, 3, 1).flatten(1) for x in logits]
    return torch.cat(flat, dim=1), torch.cat([x.permute(0, 2, 3, 1).reshape(len(x), -1, 4) for x in deltas], dim=1)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_outputs_and_gradients_are_those_of_the_dense_head(share: float) -> None:
    torch.manual_seed(0)
    head = StandardRPNHead(in_channels=8, num_anchors=3).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    maps = [torch.randn(2, 8, *size, dtype=torch.float64) for size in SIZES]
    anchors = 3 * sum(height * width for height, width in SIZES)
    chosen = torch.rand(2, anchors) < share
    weights = torch.randn(2, anchors, 5, dtype=torch.float64) * chosen[..., None]

    found = []
    for function in (dense, sparse_head_outputs):
        of, given = copy.deepcopy(head), [x.clone().requires_grad_() for x in maps]
        logits, deltas = function(of, given)
        ((logits * weights[..., 0]).sum() + (deltas * weights[..., 1:]).sum()).backward()
        found.append([logits, deltas, *(p.grad for p in of.parameters()), *(x.grad for x in given)])
    assert len(found[0]) == 2 + 6 + len(SIZES)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_under_autocast_are_near_and_of_the_parameters_type() -> None:
    torch.manual_seed(0)
    head = StandardRPNHead(in_channels=32, num_anchors=3)
    maps = [torch.randn(2, 32, *size) for size in SIZES]
    gradients = []
    for function in (dense, sparse_head_outputs):
        of, given = copy.deepcopy(head), [x.clone().requires_grad_() for x in maps]
        with torch.autocast("cpu", torch.bfloat16):
            logits, deltas = function(of, given)
        (logits.float()[:, ::7].sum() + deltas.float()[:, ::7].sum()).backward()
        gradients.append([*(p.grad for p in of.parameters()), *(x.grad for x in given)])
    for one, other in zip(*gradients, strict=True):
        assert one is not None
        assert other is not None
        assert other.dtype == torch.float32
        assert (one - other).norm() <= 0.02 * one.norm()
