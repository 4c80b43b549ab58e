"""Non-maximum suppression in each level is that of detectron2, level by level and in one call."""

from __future__ import annotations

import torch
from detectron2 import layers
from engine_fixtures import boxes

from methods.frameworks.detectron2.rpn import batched_nms, clip_boxes, nms_per_level


def test_overlapping_boxes_of_one_level_are_suppressed() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = (300, 200, 3)
    proposals = clip_boxes(boxes(503, 30, generator)[None], [(120, 110)])[0]
    scores = torch.rand(503, generator=generator)
    levels = torch.arange(3).repeat_interleave(torch.tensor(lengths))
    theirs = layers.batched_nms(proposals, scores, levels, 0.7)
    assert 100 < len(theirs) < 500
    assert torch.equal(nms_per_level(proposals, scores, lengths, 0.7), theirs)
    assert torch.equal(batched_nms(proposals, scores, lengths, 0.7, (120, 110)), theirs)


def test_boxes_are_clipped_to_their_own_image() -> None:
    beyond = torch.tensor([[[-5.0, -6.0, 500.0, 600.0]]]).repeat(2, 1, 1)
    assert clip_boxes(beyond, [(20, 30), (40, 50)]).tolist() == [[[0, 0, 30, 20]], [[0, 0, 50, 40]]]
