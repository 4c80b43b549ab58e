"""Implicit PointRend (docs/methods.md#implicit-pointrend): counts, agreement with detectron2's, subdivision."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from methods.implicit_pointrend import ImplicitPointRendOptions
from methods.implicit_pointrend import mask_head as implicit_pointrend
from methods.implicit_pointrend.mask_head import PointNetwork, build, grid_centres, sample_point_features
from methods.shared.supervision import FullMasks

SMALL: dict[str, Any] = {"hidden": 8, "frequencies": 4, "code_width": 16, "grid_side": 7, "steps": 1}


def _small(task: Any, **more: Any) -> Any:
    return build(task, ImplicitPointRendOptions(**{**SMALL, **more}), channels=6, strides=(4, 8))


def _features(images: int = 1) -> list[torch.Tensor]:
    return [torch.randn(images, 6, 16, 20, requires_grad=True), torch.randn(images, 6, 8, 10)]


BOXES = [torch.tensor([[4.0, 8, 30, 40], [20, 20, 50, 30]]), torch.tensor([[1.0, 2, 60, 62]])]


@pytest.mark.parametrize(("classes", "count"), [(80, 283_472), (3, 263_683), (1, 263_169)])
def test_check_9_parameters_of_a_point_network(classes: int, count: int) -> None:
    assert PointNetwork(256, classes, 256, 128).count == count
    assert count == 512 * 256 + 256 + 2 * (256**2 + 256) + 256 * classes + classes


@pytest.mark.parametrize(("classes", "count"), [(80, 304_716_880), (3, 284_433_155), (1, 283_906_305)])
def test_parameters_of_the_head(task_of: Any, classes: int, count: int) -> None:
    with torch.device("meta"):
        head = build(task_of(classes), ImplicitPointRendOptions(), channels=256, strides=(4, 8, 16, 32))
    assert sum(p.numel() for p in head.parameters()) == count


def test_point_network_equals_detectron2s() -> None:
    theirs = pytest.importorskip("detectron2.projects.point_rend.point_head")
    point_head = SimpleNamespace(NUM_FC=3, FC_DIM=16, CLS_AGNOSTIC_MASK=False, NUM_CLASSES=3)
    implicit = SimpleNamespace(IMAGE_FEATURE_ENABLED=True, POS_ENC_ENABLED=True)
    config = SimpleNamespace(MODEL=SimpleNamespace(POINT_HEAD=point_head, IMPLICIT_POINTREND=implicit))
    reference = theirs.ImplicitPointHead(config, SimpleNamespace(channels=6))
    ours = PointNetwork(6, 3, 16, 128)
    ours.codes.copy_(reference.positional_encoding_gaussian_matrix)
    assert ours.count == reference.num_params
    points, features, parameters = torch.rand(4, 9, 2), torch.randn(4, 6, 9), torch.randn(4, ours.count) * 0.1
    classes = torch.tensor([0, 2, 1, 2])
    expected = reference(features, points, parameters)[torch.arange(4), classes]
    torch.testing.assert_close(ours(points, features, parameters, classes), expected, rtol=1e-4, atol=1e-4)


def test_features_are_read_where_the_point_lies() -> None:
    ramp = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(20.0), indexing="ij")).flip(0)[None]
    box = torch.tensor([[10.0, 20, 30, 60]])
    got = sample_point_features(ramp, 4, [box], torch.tensor([[[0.5, 0.5], [0.0, 1.0]]]))
    # the centre of feature cell i lies at pixel 4 i + 2
    torch.testing.assert_close(got[0].T, torch.tensor([[4.5, 9.5], [2.0, 14.5]]))


def test_every_parameter_learns_and_small_weights_are_paid_for(task_of: Any, labels_of: Any) -> None:
    head, features = _small(task_of(2), start="he"), _features()
    planes = np.zeros((2, 64, 80), np.uint8)
    planes[0, 10:30, 6:20] = planes[1, 22:28, 25:40] = 1
    field = head(features, BOXES[:1])
    penalty = field.penalty()
    torch.testing.assert_close(penalty, 1e-5 * head.write(field.code).square().mean())
    loss = FullMasks().loss(field, labels_of(planes, BOXES[0]), torch.tensor([0, 1]))
    assert loss > penalty
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())
    assert features[0].grad is not None


def test_the_papers_start_is_undecided(task_of: Any) -> None:
    field = _small(task_of())(_features(), BOXES[:1])
    assert field.at(torch.rand(2, 9, 2), torch.zeros(2, dtype=torch.long)).abs().max() < 0.1


def test_grid_is_the_function_at_the_cell_centres(task_of: Any) -> None:
    """Asked everywhere, subdivision is direct evaluation; asked in part, only the surest points are interpolated."""
    classes = torch.tensor([1, 0, 1])
    head, features = _small(task_of(2), start="he", steps=0, grid_side=14).eval(), _features(2)
    field = head(features, BOXES)
    direct = field.at(grid_centres(14, torch.device("cpu")).expand(3, -1, -1), classes).reshape(3, 14, 14)
    torch.testing.assert_close(field.grid(classes), direct)
    head.grid_side, head.steps = 7, 1
    refined = head(features, BOXES).grid(classes)
    assert refined.shape == (3, 14, 14)
    exact = torch.isclose(refined, direct, atol=1e-5).flatten(1)
    assert (exact.sum(dim=1) >= 49).all()
    assert not exact.all()


def test_portions_change_nothing(task_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    head, features, classes = _small(task_of(2), start="he").eval(), _features(2), torch.tensor([1, 0, 1])
    whole = head(features, BOXES).grid(classes)
    monkeypatch.setattr(implicit_pointrend, "EVAL_BOXES", 2)
    torch.testing.assert_close(head(features, BOXES).grid(classes), whole)
    assert head(features, [torch.zeros(0, 4)] * 2).grid(classes[:0]).shape == (0, 14, 14)
