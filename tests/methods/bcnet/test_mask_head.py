"""BCNet (docs/methods.md#bcnet): parameters, graph convolution, contours, targets of the occluder, losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from harness.masks.crops import CropMasks
from methods import bcnet
from methods.bcnet import BCNetOptions
from methods.bcnet.contours import contours
from methods.bcnet.mask_head import BilayerField, GraphConvolution, build
from methods.shared.neighbours import Neighbourhood
from methods.shared.supervision import FullMasks
from methods.shared.torch_masks import MatchedTargets, TorchMasks


def test_parameters_are_those_of_the_papers_layers(task_of: Any) -> None:
    with torch.device("meta"):
        head = build(task_of(80), BCNetOptions(), channels=256, strides=(4, 8, 16, 32))
    convolutions = 2 * 4 * (256 * 256 * 9 + 256)
    graph = 2 * (4 * 256 * 256 + 2 * 256)
    upsampling = 4 * (256 * 256 * 4 + 256) + 4 * (256 + 1)
    total = convolutions + graph + upsampling
    assert sum(p.numel() for p in head.parameters()) == total
    assert bcnet.METHOD.card.published["mask head parameters (256 channels)"] == f"{total:,}"


def test_graph_convolution_is_a_softmax_of_scaled_products() -> None:
    block, x = GraphConvolution(8).eval(), torch.randn(2, 8, 3, 4)
    with torch.no_grad():
        block.norm.weight.uniform_(0.5, 1.5)
        got = block(x)
        for one, result in zip(x, got, strict=True):
            bins = one.flatten(1)
            q, k, v = (layer.weight[:, :, 0, 0] @ bins for layer in (block.query, block.key, block.value))
            affinity = torch.stack([torch.softmax((q[:, i] @ k) / 8**0.5, dim=0) for i in range(12)])
            read = block.output.weight[:, :, 0, 0] @ (v @ affinity.T)
            read = read / (1 + 1e-4) ** 0.5 * block.norm.weight[:, None]
            torch.testing.assert_close(result.flatten(1), bins + read, rtol=1e-4, atol=1e-5)


def test_contours_are_dilation_without_erosion() -> None:
    masks = torch.rand(5, 12, 12) > 0.4
    masks[0] = True
    masks[1] = False
    for mask, contour in zip(masks.numpy(), contours(masks).numpy(), strict=True):
        wanted = ndimage.binary_dilation(mask) != ndimage.binary_erosion(mask, border_value=1)
        assert np.array_equal(contour, wanted)


def squares(*corners: tuple[int, int, int, int], side: int = 32) -> CropMasks:
    planes = np.zeros((len(corners), side, side), np.uint8)
    for plane, (x0, y0, x1, y1) in zip(planes, corners, strict=True):
        plane[y0:y1, x0:x1] = 1
    return CropMasks.from_planes(planes)


def targets_of(images: list[CropMasks], matched: list[int], boxes: Tensor | None = None) -> MatchedTargets:
    """Training boxes matched with instances of 32 x 32 images; the instances' own boxes unless others are given."""
    masks = TorchMasks.from_images(images, [(32, 32)] * len(images), "cpu")
    index, own = torch.tensor(matched), masks.boxes.float()
    boxes = own[index] if boxes is None else boxes
    neighbourhood = Neighbourhood(masks, own, [len(image) for image in images], index)
    return MatchedTargets(boxes, masks[index], neighbourhood=neighbourhood)


def test_occluders_are_the_other_cells_of_the_image_in_the_box() -> None:
    first = squares((0, 0, 16, 16), (8, 0, 24, 16), (0, 12, 16, 28), (28, 28, 32, 32))
    second = squares((0, 0, 16, 16))
    targets = targets_of([first, second], [0, 4, 3, 1])
    covered = targets.occluders_on_grid(16, 0.05)
    wanted = torch.zeros(16, 16)
    wanted[:, 8:] = 1
    wanted[12:] = 1
    assert torch.equal(covered[0], wanted), "the union of both neighbours, cut to the box"
    assert not covered[1].any(), "cells of another image are no neighbours"
    assert not covered[2].any()
    assert covered[3].any()
    # IoU of the boxes of cells 0 and 2: 4 x 16 pixels of 2 x 256 - 64
    assert torch.equal(targets.occluders_on_grid(16, 64 / 448)[0, :12, :8], torch.zeros(12, 8))
    assert not targets.occluders_on_grid(16, 64 / 448)[0, 12:, :8].any()


def test_the_loss_is_the_four_cross_entropies(task_of: Any) -> None:
    head = build(task_of(), BCNetOptions(), channels=4, strides=(4,))
    images = [squares((0, 0, 16, 16), (8, 0, 24, 16), (28, 28, 32, 32)), squares((4, 4, 20, 20))]
    targets = targets_of(images, [3, 0, 2, 3])
    logits = [torch.randn(4, 1, 8, 8) for _ in range(4)]
    got = FullMasks().loss(BilayerField(head, *logits), targets, torch.zeros(4, dtype=torch.long))
    cell, covered = targets.masks_on_grid(8) >= 0.5, targets.occluders_on_grid(8, 0.05) >= 0.5
    mask, contour, occluder, occluder_contour = (x[:, 0] for x in logits)
    bce = F.binary_cross_entropy_with_logits
    # one box has an occluder, so that one other counts: the first
    used = torch.tensor([1, 0])
    wanted = bce(mask, cell.float()) + 0.5 * bce(contour, contours(cell).float())
    wanted += 0.25 * bce(occluder[used], covered[used].float())
    wanted += 0.5 * bce(occluder_contour[used], contours(covered[used]).float())
    torch.testing.assert_close(got, wanted)


def test_without_neighbours_the_occluder_has_no_loss(task_of: Any) -> None:
    head = build(task_of(), BCNetOptions(contour_weight=0.0), channels=4, strides=(4,))
    logits = [torch.randn(1, 1, 8, 8, requires_grad=True) for _ in range(4)]
    loss = BilayerField(head, *logits).full_mask_loss(targets_of([squares((0, 0, 16, 16))], [0]), torch.tensor([0]))
    loss.backward()
    assert logits[0].grad is not None
    assert logits[0].grad.any()
    assert logits[2].grad is None or not logits[2].grad.any()


@pytest.mark.parametrize("width", [None, 8])
def test_every_parameter_learns_and_the_cell_reads_the_occluder(task_of: Any, width: int | None) -> None:
    head = build(task_of(2), BCNetOptions(width=width, crop=8), channels=16, strides=(4, 8))
    features = [torch.randn(1, 16, 8, 8), torch.randn(1, 16, 4, 4)]
    targets = targets_of([squares((0, 0, 16, 16), (8, 0, 24, 16))], [0, 1])
    field = head(features, [targets.boxes])
    FullMasks().loss(field, targets, torch.tensor([0, 1])).backward()
    assert [n for n, p in head.named_parameters() if p.grad is None or not p.grad.any()] == []
    head.zero_grad()
    head(features, [targets.boxes]).logits.sum().backward()
    assert all(p.grad is not None for p in head.occluder_branch.parameters())
    grid = head.eval()(features, [targets.boxes]).grid(torch.tensor([0, 1]))
    assert grid.shape == (2, 16, 16)
