"""Cropped masks on a device give what detectron2's bit masks give, without the planes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks
from engine_fixtures import discs

from harness.masks.crops import CropMasks
from methods.shared.torch_masks import MatchedTargets, TorchMasks


@pytest.fixture
def pair() -> tuple[TorchMasks, BitMasks, torch.Tensor]:
    sample = discs(30, side=80, height=64, seed=3)
    masks = sample.instances.masks
    assert masks is not None
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 50, (30, 2))
    extent = rng.uniform(0.5, 30, (30, 2))
    boxes = np.concatenate([corner, np.minimum(corner + extent, [80, 64])], axis=1)
    # boxes on the cells themselves, on the image's edges, and anywhere
    boxes[:20] = masks.boxes[:20] + rng.uniform(-2, 2, (20, 4))
    boxes = boxes.clip(0, [80, 64, 80, 64])
    boxes[-1] = [0, 0, 80, 64]
    planes = torch.from_numpy(masks.planes(64, 80)).bool()
    return TorchMasks.from_images([masks], [(64, 80)], "cpu"), BitMasks(planes), torch.from_numpy(boxes).float()


@pytest.mark.parametrize("size", [7, 14, 28])
def test_grid_equals_roi_align_over_planes(pair: tuple[TorchMasks, BitMasks, torch.Tensor], size: int) -> None:
    from detectron2.layers.roi_align import ROIAlign

    crops, planes, boxes = pair
    rois = torch.cat([torch.arange(len(boxes)).float()[:, None], boxes], dim=1)
    theirs = ROIAlign((size, size), 1.0, 0, aligned=True)(planes.tensor[:, None].float(), rois)[:, 0]
    assert torch.allclose(crops.roi_align(boxes, size), theirs, atol=1e-5)
    assert torch.equal(crops.roi_align(boxes, size) >= 0.5, planes.crop_and_resize(boxes, size)) or (
        (theirs - 0.5).abs().min() < 1e-5
    )


@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_grid_is_the_mean_of_the_samples(scale: float) -> None:
    """As the definition has it, sample by sample, on boxes that span from a few to hundreds of pixels."""
    side = int(64 * scale)
    planes = np.zeros((3, side, side), np.uint8)
    planes[0, side // 4 :, : side // 2] = planes[1, 3:5] = planes[2] = 1
    masks = TorchMasks.from_images([CropMasks.from_planes(planes)], [(side, side)], "cpu")
    boxes = torch.tensor([[3.3, 7.9, 40.2, 60.0], [0.0, 0.0, 64.0, 64.0], [10.5, 20.25, 10.5, 64.0]]) * scale
    size = 14
    for box, index, grid in zip(boxes, range(3), masks.roi_align(boxes, size), strict=True):
        bins = (box[2:] - box[:2]) / size
        kx, ky = bins.clamp(min=1).ceil().int().tolist()
        x = box[0] + (torch.arange(size * kx) + 0.5) / kx * bins[0]
        y = box[1] + (torch.arange(size * ky) + 0.5) / ky * bins[1]
        samples = masks[torch.tensor([index])].sample_bilinear(
            x.expand(1, size * ky, size * kx), y[:, None].expand(1, size * ky, size * kx)
        )
        mean = samples.reshape(size, ky, size, kx).mean(dim=(1, 3))
        torch.testing.assert_close(grid, mean, atol=2e-5, rtol=0)


def test_autocast_does_not_reach_the_targets(pair: tuple[TorchMasks, BitMasks, torch.Tensor]) -> None:
    crops, _, boxes = pair
    with torch.autocast("cpu", torch.bfloat16):
        inside = crops.roi_align(boxes, 28)
    assert torch.equal(inside, crops.roi_align(boxes, 28))


def test_many_cells_in_parts(pair: tuple[TorchMasks, BitMasks, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    crops, _, boxes = pair
    whole = crops.roi_align(boxes, 14)
    monkeypatch.setattr("methods.shared.chunking.MAX_CHUNK_ELEMENTS", 3 * 14 * 14)
    torch.testing.assert_close(crops.roi_align(boxes, 14), whole, atol=1e-6, rtol=0)


def test_indexing_shares_pixels_and_follows_matches(pair: tuple[TorchMasks, BitMasks, torch.Tensor]) -> None:
    crops, _, boxes = pair
    index = torch.tensor([5, 5, 2])
    picked = crops[index]
    assert picked.pixels.data_ptr() == crops.pixels.data_ptr()
    assert torch.equal(picked.roi_align(boxes[index], 14), crops.roi_align(boxes, 14)[index])


def test_values_at_pixel_centres_are_the_pixels(pair: tuple[TorchMasks, BitMasks, torch.Tensor]) -> None:
    crops, planes, _ = pair
    y, x = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(80) + 0.5, indexing="ij")
    everywhere = crops.sample_bilinear(x.expand(30, 64, 80), y.expand(30, 64, 80))
    assert torch.equal(everywhere, planes.tensor.float())


def test_points_in_box_coordinates() -> None:
    sample = discs(1, seed=1)
    masks = sample.instances.masks
    assert masks is not None
    box = torch.from_numpy(masks.boxes).float()
    labels = MatchedTargets(box, TorchMasks.from_images([masks], [sample.size], "cpu"))
    points = torch.tensor([[[0.5, 0.5], [0.001, 0.001]]])
    assert labels.masks_at(points)[0, 0] == 1
    assert labels.masks_at(points)[0, 1] < 0.5


def test_masks_that_were_taken_away_cannot_be_read() -> None:
    labels = MatchedTargets(torch.zeros(1, 4), None)
    with pytest.raises(RuntimeError, match="removed the masks"):
        labels.masks_on_grid(28)
