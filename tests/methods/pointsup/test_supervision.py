"""Point supervision: the numbered checks of docs/methods.md#pointsup."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fuzzing import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract import Instances
from harness.errors import HarnessError
from harness.masks.crops import CropMasks
from harness.options import validate
from methods.pointsup import PointSupOptions
from methods.pointsup.supervision import Points, build
from methods.shared.mask_heads import DenseField
from methods.shared.torch_masks import MatchedTargets

ZERO = torch.zeros(1, dtype=torch.long)
TOY_X = (0.5, 0.0, 1.0, 0.25, 1 / 56)


def _column_field() -> DenseField:
    return DenseField(torch.arange(28.0).expand(1, 1, 28, 28).clone().requires_grad_())


def _labels(x: tuple[float, ...], labels: list[int], box: tuple[float, ...] = (0, 0, 28, 28)) -> MatchedTargets:
    """One box with points at box-relative x, in the middle of its height. It holds no masks."""
    corner, side = torch.tensor(box[:2]), box[2] - box[0]
    points = torch.tensor([[[v, 0.5] for v in x]]) * side + corner
    return MatchedTargets(torch.tensor([box], dtype=torch.float32), None, points, torch.tensor([labels]))


def _cells(rng: np.random.Generator, count: int) -> Instances:
    boxes, crops = [], []
    for _ in range(count):
        x, y = rng.integers(0, 60, 2)
        w, h = rng.integers(1, 30, 2)
        crop = rng.integers(0, 2, (h, w))
        crop[0, 0] = crop[-1, -1] = crop[0, -1] = crop[-1, 0] = 1
        boxes.append((x, y, x + w, y + h))
        crops.append(crop)
    masks = CropMasks.from_crops(np.array(boxes).reshape(-1, 4), crops)
    return Instances.of_masks(masks, np.zeros(count, np.int64))


def test_check_1_logits_are_read_bilinearly_with_zero_padding() -> None:
    points = torch.tensor([[[x, 0.5] for x in TOY_X]])
    torch.testing.assert_close(_column_field().at(points, ZERO)[0], torch.tensor([13.5, 0.0, 13.5, 6.5, 0.0]))


def test_check_2_ignored_points_count_in_the_mean() -> None:
    loss = Points(5, 5).loss(_column_field(), _labels(TOY_X, [1, 0, -1, 1, 0]), ZERO)
    assert loss.item() == pytest.approx(0.27756, abs=1e-5)


def test_check_3_all_ignored_gives_zero_and_finite_gradient() -> None:
    field = _column_field()
    loss = Points(5, 5).loss(field, _labels(TOY_X, [-1] * 5), ZERO)
    (gradient,) = torch.autograd.grad(loss, field.logits)
    assert loss.item() == 0
    assert bool(torch.isfinite(gradient).all())


def test_check_5_points_outside_the_box_are_ignored() -> None:
    # seen from a box that begins at 14, the points at x = 0, 7 and 0.5 lie outside
    labels = _labels(TOY_X, [0] * 5)
    labels.boxes = torch.tensor([[14.0, 0, 42, 28]])
    logits = _column_field().at(torch.tensor([[[0.0, 0.5], [0.5, 0.5]]]), ZERO)
    expected = torch.nn.functional.softplus(logits).sum() / 5
    torch.testing.assert_close(Points(5, 5).loss(_column_field(), labels, ZERO), expected)


def test_points_and_logits_shift_together() -> None:
    here = Points(5, 5).loss(_column_field(), _labels(TOY_X, [1, 0, 0, 1, 0]), ZERO)
    there = Points(5, 5).loss(_column_field(), _labels(TOY_X, [1, 0, 0, 1, 0], (100, 7, 128, 35)), ZERO)
    torch.testing.assert_close(here, there)


def test_check_7_each_step_takes_another_five_of_ten_without_repeats() -> None:
    seen: list[list[float]] = []

    class Spy(DenseField):
        def at(self, points: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
            seen.append(points[0, :, 0].tolist())
            return super().at(points, classes)

    labels = _labels(tuple(i / 16 for i in range(10)), [1] * 10)
    for _ in range(8):
        Points(10, 5).loss(Spy(torch.zeros(1, 1, 28, 28)), labels, ZERO)
    assert all(len(set(step)) == 5 for step in seen)
    assert len({tuple(sorted(step)) for step in seen}) > 1


@settings(max_examples=examples(40), deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 12))
def test_check_8_labels_are_mask_lookups_at_pixel_centres(seed: int, count: int) -> None:
    cells = _cells(np.random.default_rng(seed), count)
    got = Points(10, 5).labels(cells, np.random.default_rng(0))
    assert cells.masks is not None
    assert got.points is not None
    assert got.point_labels is not None
    assert got.points.shape == (count, 10, 2)
    planes = cells.masks.planes(100, 100)
    for plane, box, points, labels in zip(planes, cells.boxes, got.points, got.point_labels, strict=True):
        assert ((points % 1) == 0.5).all()
        x, y = np.floor(points).astype(int).T
        assert ((x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])).all()
        assert plane[y, x].tolist() == labels.tolist()


def test_points_are_uniform_over_the_box() -> None:
    crop = np.ones((8, 4), np.uint8)
    masks = CropMasks.from_crops([(10, 20, 14, 28)] * 400, [crop] * 400)
    points = Points(10, 5).labels(Instances.of_masks(masks, np.zeros(400, np.int64)), np.random.default_rng(0)).points
    assert points is not None
    _, counts = np.unique(points.reshape(-1, 2), axis=0, return_counts=True)
    assert len(counts) == 32
    assert counts.min() > 125 * 0.6
    assert counts.max() < 125 * 1.5


def test_annotation_depends_on_the_image_alone() -> None:
    first, other = (_cells(np.random.default_rng(seed), 5) for seed in (1, 2))
    one = Points(10, 5).labels(first, np.random.default_rng(3)).points
    two = Points(10, 5).labels(first, np.random.default_rng(4)).points
    three = Points(10, 5).labels(other, np.random.default_rng(3)).points
    assert np.array_equal(one, two)  # type: ignore[arg-type]
    assert not np.array_equal(one - first.boxes[:, None, :2], three - other.boxes[:, None, :2])  # type: ignore


def test_check_10_no_mask_is_left_to_read(task_of: Any) -> None:
    supervision = build(task_of(), PointSupOptions())
    assert supervision.needs_masks is False
    assert supervision.labels(_cells(np.random.default_rng(0), 3), np.random.default_rng(0)).masks is None
    labels = _labels(TOY_X * 2, [1] * 10)  # holds no masks; MatchedTargets raises where one is asked for
    with pytest.raises(RuntimeError, match="removed the masks"):
        labels.masks_on_grid(28)
    assert torch.isfinite(supervision.loss(_column_field(), labels, ZERO))


def test_more_points_a_step_than_there_are_is_a_users_mistake() -> None:
    with pytest.raises(HarnessError, match="points_per_step=11 must be at most points=10"):
        validate(PointSupOptions, {"points": 10, "points_per_step": 11})
