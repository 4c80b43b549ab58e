"""Without anything learned from unlabelled images the losses are the supervised ones; with it, they are added."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from engine_fixtures import SMALL, discs, recipe, task
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.contract import Part, PointPredictions, Sample
from harness.errors import HarnessError
from methods.mean_teacher import MeanTeacherOptions
from methods.mean_teacher.supervision import MeanTeacher, MeanTeacherLearner
from methods.shared.mask_heads import DenseField
from methods.shared.supervision import FullMasks, point_loss
from methods.shared.torch_masks import MatchedTargets

LABELLED = [discs(3, seed=1), discs(2, seed=2)]
UNLABELLED = [discs(0, seed=seed).with_(labelled=False) for seed in (3, 4)]


class Model:
    """Finds boxes with these scores on every image; its loss counts the images and cells it is given."""

    def __init__(self, scores: Sequence[float]) -> None:
        self.module, self.scores = nn.Linear(1, 1), scores
        self.batches: list[list[Sample]] = []
        self.seen_weight: list[float] = []

    def losses(self, batch: Sequence[Sample]) -> dict[str, Tensor]:
        self.batches.append(list(batch))
        count = float(sum(len(sample.instances) for sample in batch))
        return {"loss_cls": self.module.weight.sum() * 0 + count, "loss_box_reg": self.module.weight.sum()}

    def predict_points(
        self, images: Sequence[NDArray[np.uint8]], count: int, rng: np.random.Generator
    ) -> list[PointPredictions]:
        self.seen_weight.append(float(self.module.weight))
        assert not torch.is_grad_enabled()
        n = len(self.scores)
        boxes = np.array([[10 * i - 3.5, 5, 10 * i + 5.2, 100] for i in range(n)], np.float32).reshape(-1, 4)
        points = rng.random((n, count, 2)).astype(np.float32) * 50
        chance = np.tile(np.linspace(0, 1, count, dtype=np.float32), (n, 1))
        one = PointPredictions(boxes, np.array(self.scores, np.float32), np.zeros(n, np.int64), points, chance)
        return [one] * len(images)


class Context:
    unlabelled: Any = ()
    cells_per_image = (1.0,)
    seed, step = 0, 5

    def __init__(self, model: Any, used: float = 0.9) -> None:
        self.model, self._used = model, used

    def used(self) -> float:
        return self._used

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        with torch.no_grad():
            yield

    def predict(self, image: NDArray[np.uint8]) -> Any:
        raise AssertionError("whole images are not predicted")


def learner(model: Any, used: float = 0.9, **options: Any) -> MeanTeacherLearner:
    made = MeanTeacherLearner(Context(model, used), MeanTeacherOptions(**options))
    made.before_step()
    return made


@pytest.mark.parametrize(
    ("scores", "used", "options"),
    [
        ([], 0.9, {}),
        ([0.69, 0.5], 0.9, {}),
        ([1.0, 1.0], 0.9, {"threshold": 1.01}),
        ([1.0], 0.9, {"weight": 0}),
        ([1.0], 0.3, {}),
    ],
    ids=["no box", "no sure box", "threshold above 1", "weight 0", "before the start"],
)
def test_without_pseudo_labels_the_losses_are_exactly_the_supervised_ones(
    scores: list[float], used: float, options: dict[str, Any]
) -> None:
    model = Model(scores)
    losses = learner(model, used, **options).losses([*LABELLED, *UNLABELLED])
    # five cells on the labelled images
    assert {name: value.item() for name, value in losses.items()} == {
        "loss_cls": 5.0,
        "loss_box_reg": model.module.weight.item(),
    }
    assert [[sample.image_id for sample in batch] for batch in model.batches] == [["discs1", "discs2"]]


def test_boxes_by_score_are_cells_or_ignored_or_background() -> None:
    made = learner(Model([0.9, 0.4, 0.1]), points=5).label(UNLABELLED)
    assert [sample.labelled for sample in made] == [False, False]
    instances = made[0].instances
    assert instances.masks is None
    assert instances.boxes.tolist() == [[0, 5, 6, 96], [6, 5, 16, 96]]
    assert instances.crowd is not None
    assert instances.crowd.tolist() == [False, True]
    assert instances.point_labels is not None
    assert instances.point_labels[0].tolist() == [0, -1, -1, -1, 1]
    assert not np.array_equal(made[0].image, UNLABELLED[0].image), "the strong view"


def test_losses_of_unlabelled_images_are_added_with_their_weight_and_without_those_that_move_boxes() -> None:
    losses = learner(Model([0.9]), used=0.35, weight=2.0).losses([*LABELLED, *UNLABELLED])
    # half of the ramp; one cell on each of two images
    assert set(losses) == {"loss_cls", "loss_box_reg", "unlabelled_loss_cls"}
    assert losses["unlabelled_loss_cls"].item() == pytest.approx(2.0)


def test_the_average_predicts_and_gets_no_gradient() -> None:
    model = Model([0.9])
    made = learner(model)
    old = model.module.weight.item()
    optimiser = torch.optim.SGD(model.module.parameters(), lr=0.1)
    torch.stack(list(made.losses([*LABELLED, *UNLABELLED]).values())).sum().backward()
    optimiser.step()
    made.after_step()
    new = model.module.weight.item()
    assert new == pytest.approx(old - 0.1)
    average = made.teacher.values["weight"]
    assert float(average) == pytest.approx(0.1 * old + 0.9 * new)
    assert average.grad is None
    assert not average.requires_grad
    made.label(UNLABELLED)
    assert model.seen_weight == [pytest.approx(old), pytest.approx(float(average))]
    assert model.module.weight.item() == new


def test_masks_are_supervised_as_ever_and_points_at_those_that_are_sure() -> None:
    supervision, classes = MeanTeacher(MeanTeacherOptions()), torch.zeros(1, dtype=torch.long)
    torch.manual_seed(0)
    field = DenseField(torch.randn(1, 1, 28, 28))
    box = torch.tensor([[0.0, 0, 28, 28]])
    points, labels = torch.tensor([[[3.0, 4], [9, 9], [20, 1]]]), torch.tensor([[1, -1, 0]])
    targets = MatchedTargets(box, None, points, labels)
    assert supervision.loss(field, targets, classes) == point_loss(field, box, points, labels, classes)
    whole = discs(1, side=28, seed=2)
    from methods.shared.torch_masks import TorchMasks

    masks = TorchMasks.from_images([whole.instances.masks], [whole.size], "cpu")  # type: ignore[list-item]
    targets = MatchedTargets(box, masks)
    assert supervision.loss(field, targets, classes) == FullMasks().loss(field, targets, classes)


def test_an_engine_without_points_is_refused() -> None:
    with pytest.raises(HarnessError, match="needs an engine that predicts points"):
        MeanTeacherLearner(Context(object()), MeanTeacherOptions())


def test_detectron2_trains_on_points_of_its_own() -> None:
    part = Part("mean teacher", "methods.mean_teacher.supervision:build", options_type=MeanTeacherOptions)
    base = recipe(supervision=part)
    model = base.engine.build(base, task(**SMALL))
    model.module.train()
    made = learner(model, threshold=0.0, ignore=0.0, sure=0.51)

    @contextmanager
    def evaluating() -> Iterator[None]:
        model.module.eval()
        with torch.no_grad():
            yield
        model.module.train()

    made.context.evaluating = evaluating  # type: ignore[method-assign]
    (found, _) = made.label(UNLABELLED)
    assert found.instances.points is not None
    assert found.instances.points.shape == (len(found.instances), 112, 2)
    losses = made.losses([*LABELLED, *UNLABELLED])
    added = {"unlabelled_loss_rpn_cls", "unlabelled_loss_cls", "unlabelled_loss_mask"}
    assert added < set(losses)
    assert all(bool(torch.isfinite(value)) for value in losses.values())
