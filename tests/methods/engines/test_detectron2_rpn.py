"""Anchors are matched as detectron2 matches them."""

from __future__ import annotations

import pytest
import torch
from detectron2.modeling.matcher import Matcher
from detectron2.structures import Boxes, pairwise_iou

from methods.engines.detectron2_rpn import matched


def boxes(count: int, side: float, generator: torch.Generator) -> torch.Tensor:
    corner = torch.rand(count, 2, generator=generator) * 100
    return torch.cat([corner, corner + side * (0.5 + torch.rand(count, 2, generator=generator))], dim=1)


@pytest.mark.parametrize("low_quality", [True, False])
@pytest.mark.parametrize("cells", [0, 1, 7, 60])
@pytest.mark.parametrize("pairs_at_once", [1, 2**16])
def test_matches_and_labels(cells: int, low_quality: bool, pairs_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("methods.engines.in_caches.ELEMENTS", pairs_at_once)
    generator = torch.Generator().manual_seed(cells)
    # rows of equal anchors, so that there are ties
    anchors = boxes(500, 16, generator).round().repeat(2, 1)
    targets = boxes(cells, 12, generator)
    if cells > 1:
        targets[0] = torch.tensor([500.0, 500, 510, 510])  # where no anchor is
        targets[1] = targets[2 % cells]
    matcher = Matcher([0.3, 0.7], [0, -1, 1], allow_low_quality_matches=low_quality)
    theirs = matcher(pairwise_iou(Boxes(targets), Boxes(anchors)))
    ours = matched(targets, anchors, matcher)
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])
