"""Pasting into crops gives the pixels that detectron2 pastes into planes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from detectron2.layers.mask_ops import paste_masks_in_image

from methods.shared import paste_masks as paste
from methods.shared.paste_masks import paste_crops


def _case(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.rand((count, 28, 28), generator=generator)
    corner = torch.rand((count, 2), generator=generator) * 90 - 10
    extent = torch.rand((count, 2), generator=generator) ** 3 * 90 + 0.3
    return probabilities, torch.cat([corner, corner + extent], dim=1)


@pytest.mark.parametrize("chunk", [400, 4_000_000])
def test_equals_detectron2(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paste, "CHUNK_PIXELS", chunk)
    probabilities, boxes = _case(80, seed=0)
    clipped = torch.minimum(boxes.clamp(min=0), torch.tensor([100.0, 70.0, 100.0, 70.0]))
    visible = ((clipped[:, 2:] - clipped[:, :2]) > 0).all(dim=1)
    masks, kept = paste_crops(probabilities, boxes, (70, 100))
    assert not set(kept.tolist()) & set(torch.nonzero(~visible)[:, 0].tolist())
    # detectron2 itself fails on boxes outside the image
    where = torch.nonzero(visible)[:, 0]
    theirs = paste_masks_in_image(probabilities[where], boxes[where], (70, 100), threshold=0.5).numpy()
    there = theirs.any(axis=(1, 2))
    assert kept.tolist() == where[torch.from_numpy(there)].tolist()
    assert np.array_equal(masks.planes(70, 100), theirs[there])


def test_no_boxes_give_no_masks() -> None:
    masks, kept = paste_crops(torch.zeros((0, 28, 28)), torch.zeros((0, 4)), (10, 10))
    assert len(masks) == 0
    assert len(kept) == 0


def test_masks_without_a_pixel_are_removed() -> None:
    probabilities = torch.stack([torch.ones(28, 28), torch.zeros(28, 28)])
    boxes = torch.tensor([[1.0, 1.0, 5.0, 5.0], [1.0, 1.0, 5.0, 5.0]])
    masks, kept = paste_crops(probabilities, boxes, (10, 10))
    assert kept.tolist() == [0]
    assert masks.boxes.tolist() == [[1, 1, 5, 5]]
