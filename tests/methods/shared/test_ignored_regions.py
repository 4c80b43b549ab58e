"""Boxes in ignored regions are told, by the part of them inside and by the IoU that would match them."""

from __future__ import annotations

import torch

from methods.shared.ignored_regions import lies_in_region

REGION = torch.tensor([[[0.0, 0.0, 40.0, 40.0]]])


def test_a_box_half_inside_or_matching_is_ignored() -> None:
    boxes = torch.tensor(
        [
            [10.0, 10, 20, 20],  # inside
            [30.0, 0, 50, 40],  # half inside
            [31.0, 0, 51, 40],  # less than half inside
            [0.0, 0, 64, 64],  # IoU 0.39 with the region
            [60.0, 60, 80, 80],  # elsewhere
        ]
    )
    assert lies_in_region(REGION, boxes, 0.3).tolist() == [[True, True, False, True, False]]
    assert lies_in_region(REGION, boxes, 0.5).tolist() == [[True, True, False, False, False]]


def test_each_image_has_its_own_regions_and_padding_is_none() -> None:
    regions = torch.cat([torch.zeros(2, 20, 4), REGION.expand(2, -1, -1)], dim=1)
    regions[1] = 0
    boxes = torch.tensor([[[5.0, 5, 9, 9], [0, 0, 0, 0]]]).expand(2, -1, -1)
    assert lies_in_region(regions, boxes, 0.5).tolist() == [[True, False], [False, False]]
