"""The same boxes remain as with torchvision, which compares all of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision import ops

from methods.shared import nms as module
from methods.shared.nms import FEW, nms


def proposals(count: int, width: float, height: float, side: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Boxes in clusters, as a network proposes them; some of no area, equal ones, and scores that are equal."""
    random = torch.Generator().manual_seed(seed)
    cluster = torch.randint(max(1, count // 8), (count,), generator=random)
    middle = torch.rand(count, 2, generator=random) * torch.tensor([width, height])
    middle = middle[cluster] + 4 * torch.randn(count, 2, generator=random)
    sides = side * (0.3 + 1.5 * torch.rand(count, 2, generator=random))[cluster]
    sides *= torch.exp(0.15 * torch.randn(count, 2, generator=random))
    boxes = torch.cat([middle - sides / 2, middle + sides / 2], dim=1).clamp(0)
    boxes[:, 0::2].clamp_(max=width)
    boxes[:, 1::2].clamp_(max=height)
    boxes[1::9] = boxes[::9][: len(boxes[1::9])]
    scores = torch.randn(count, generator=random)
    scores[::7] = scores[0]
    scores[::31] = -torch.inf
    return boxes, scores


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
@pytest.mark.parametrize(
    ("count", "width", "height", "side"),
    [(700, 700, 520, 20), (3000, 700, 520, 20), (2000, 64, 20_000, 30), (2000, 20_000, 64, 30), (800, 100, 100, 60)],
    ids=["few", "many", "a tall strip", "a wide strip", "crowded"],
)
def test_the_same_boxes_remain(
    count: int, width: float, height: float, side: float, threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_COMPARED", 1.0)
    monkeypatch.setattr(module, "PAIRS", 5_000)
    for seed in range(3):
        boxes, scores = proposals(count, width, height, side, seed)
        assert torch.equal(nms(boxes, scores, threshold), ops.nms(boxes, scores, threshold))


def test_few_boxes_and_crowded_ones_are_compared_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(module, "compare_all", lambda boxes, scores, threshold: seen.append(len(boxes)))
    nms(*proposals(FEW, 700, 520, 20), 0.7)
    nms(*proposals(2000, 50, 50, 40), 0.7)
    assert seen == [FEW, 2000]
    assert nms(*proposals(2000, 900, 520, 15), 0.7) is not None
    assert len(seen) == 2
