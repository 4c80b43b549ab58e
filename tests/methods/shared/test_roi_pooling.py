"""RoIPooler gives the crops of detectron2's ROIPooler."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from methods.shared import roi_pooling
from methods.shared.roi_pooling import RoIPooler, boxes_to_rois

STRIDES = (4, 8, 16, 32)


def _features(*, grad: bool) -> list[torch.Tensor]:
    return [torch.randn(2, 5, 256 // s, 320 // s, requires_grad=grad) for s in STRIDES]


def _boxes() -> list[torch.Tensor]:
    corner = torch.rand(2, 40, 2) * 200
    sides = torch.exp(torch.rand(2, 40, 2) * 5.5) + 1
    boxes = list(torch.cat([corner, corner + sides], dim=2))
    boxes[0] = torch.cat([boxes[0], torch.tensor([[0.0, 0, 112, 112], [0, 0, 224, 224], [0, 0, 448, 448]])])
    return boxes


@pytest.mark.parametrize("grad", [False, True], ids=["plain", "training"])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_equals_detectron2(sampling_ratio: int, grad: bool) -> None:
    poolers = pytest.importorskip("detectron2.modeling.poolers")
    structures = pytest.importorskip("detectron2.structures")
    features, boxes = _features(grad=grad), _boxes()
    theirs = poolers.ROIPooler(7, [1 / s for s in STRIDES], sampling_ratio, "ROIAlignV2")
    expected = theirs(features, [structures.Boxes(b) for b in boxes])
    got = RoIPooler(7, STRIDES, sampling_ratio)(features, boxes)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_pooling_without_synchronisation_gives_the_same() -> None:
    """As on a GPU: the same numbers and the same gradients."""
    pool, rois = RoIPooler(7, STRIDES), boxes_to_rois(_boxes())
    torch.manual_seed(1)
    asked, unasked = _features(grad=True), _features(grad=True)
    for one, other in zip(asked, unasked, strict=True):
        other.data.copy_(one.data)
    expected, got = pool.pool_rois(asked, rois), pool._pool_without_sync(unasked, rois, pool.assign_levels(rois[:, 1:]))
    torch.testing.assert_close(got, expected)
    weights = torch.rand_like(got)
    (expected * weights).sum().backward()
    (got * weights).sum().backward()
    for one, other in zip(asked, unasked, strict=True):
        torch.testing.assert_close(other.grad, one.grad)


def test_small_boxes_come_from_the_finest_level_and_huge_ones_from_the_coarsest() -> None:
    boxes = torch.tensor([[0.0, 0, 5, 5], [0, 0, 111, 111], [0, 0, 113, 113], [0, 0, 225, 225], [0, 0, 9999, 9999]])
    assert RoIPooler(7, STRIDES).assign_levels(boxes).tolist() == [0, 0, 1, 2, 3]
    assert RoIPooler(7, STRIDES[1:]).assign_levels(boxes).tolist() == [0, 0, 0, 1, 2]


def test_no_box_gives_an_empty_crop() -> None:
    none = [torch.zeros(0, 4)] * 2
    assert RoIPooler(7, STRIDES)(_features(grad=False), none).shape == (0, 5, 7, 7)


@pytest.mark.parametrize("sides", [(20.0,), (20.0, 300.0)])
def test_crops_for_training_are_contiguous(sides: tuple[float, ...]) -> None:
    """From one level and from several: DeepMAC's head corrupts memory on any other layout."""
    features = [torch.randn(1, 8, 128 // 2**i, 128 // 2**i, requires_grad=True) for i in range(3)]
    boxes = torch.tensor([[0.0, 0.0, side, side] for side in sides])
    assert RoIPooler(7, (4, 8, 16))(features, [boxes]).is_contiguous()


def test_strides_must_double() -> None:
    with pytest.raises(ValueError, match="each double"):
        RoIPooler(7, (4, 16))


@pytest.fixture
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("deterministic")
def test_deterministic_gradients_on_a_gpu_are_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU torchvision then takes an implementation in Python, whose gradients of boxes without area are 0 / 0."""
    python_roi_align = importlib.import_module("torchvision.ops.roi_align")._roi_align

    def roi_align(x: Tensor, rois: Tensor, size: int, scale: float, ratio: int, aligned: bool) -> Tensor:
        result: Tensor = python_roi_align(x, rois, scale, size, size, ratio, aligned)
        return result

    monkeypatch.setattr(roi_pooling, "roi_align", roi_align)
    monkeypatch.setattr(roi_pooling, "on_gpu", lambda tensor: True)
    features, rois = _features(grad=True), boxes_to_rois(_boxes())
    crops = RoIPooler(7, STRIDES).pool_rois(features, rois)
    crops.square().sum().backward()
    assert all(f.grad is not None and bool(torch.isfinite(f.grad).all()) for f in features)
    monkeypatch.undo()
    torch.testing.assert_close(crops, RoIPooler(7, STRIDES).pool_rois(features, rois))
