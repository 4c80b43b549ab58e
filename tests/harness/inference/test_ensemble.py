"""Several models as one: the average of what they find on an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from harness.contract import Predictions, Sample
from harness.inference.ensemble import Ensemble, average_predictions
from harness.masks.crops import CropMasks

SIZE = (40, 50)


def square(top: int, left: int, side: int = 10) -> NDArray[np.uint8]:
    plane = np.zeros(SIZE, np.uint8)
    plane[top : top + side, left : left + side] = 1
    return plane


def found(*cells: tuple[NDArray[np.uint8], float, int]) -> Predictions:
    masks = CropMasks.from_planes(np.stack([cell[0] for cell in cells])) if cells else CropMasks.empty()
    scores = np.asarray([cell[1] for cell in cells], np.float32)
    return Predictions(SIZE, masks, scores, np.asarray([cell[2] for cell in cells], np.int64))


def test_one_model_is_itself_in_the_order_of_scores() -> None:
    alone = found((square(2, 2), 0.5, 0), (square(20, 20), 0.75, 1))
    average = average_predictions([alone])
    assert average.scores.tolist() == [0.75, 0.5]
    assert average.labels.tolist() == [1, 0]
    assert np.array_equal(average.masks.planes(*SIZE), alone.masks.planes(*SIZE)[::-1])


def test_a_cell_that_all_find_is_one_with_the_mean_score_and_the_pixels_of_most() -> None:
    models = [found((square(2, 2), 0.5, 0)), found((square(2, 3), 0.75, 0)), found((square(2, 3), 0.25, 0))]
    average = average_predictions(models)
    assert average.scores.tolist() == [0.5]
    assert np.array_equal(average.masks.planes(*SIZE)[0], square(2, 3)), "two thirds of the scores are there"


def test_a_cell_that_one_of_three_finds_gets_a_third_of_its_score() -> None:
    average = average_predictions([found((square(2, 2), 0.75, 0)), found(), found()])
    assert average.scores.tolist() == [0.25]
    assert len(average.masks) == 1


def test_cells_of_other_labels_and_of_one_model_stay_apart() -> None:
    average = average_predictions(
        [found((square(2, 2), 0.5, 0), (square(2, 3), 0.5, 0)), found((square(2, 2), 0.5, 1))]
    )
    assert sorted(average.scores.tolist()) == [0.25, 0.25, 0.25]
    assert sorted(average.labels.tolist()) == [0, 0, 1]


def test_a_cell_joins_the_one_that_it_covers_best() -> None:
    first = found((square(2, 2), 0.9, 0), (square(2, 5), 0.8, 0))
    average = average_predictions([first, found((square(2, 5), 0.7, 0))])
    assert average.scores.tolist() == pytest.approx([0.45, 0.75])


def test_nothing_found_by_any_is_nothing() -> None:
    assert len(average_predictions([found(), found()])) == 0


class Fixed:
    """A model that gives the same for every image."""

    def __init__(self, predictions: Predictions, most: int | None = None) -> None:
        self.module, self._predictions = nn.Linear(1, 1), predictions
        if most is not None:
            self.max_detections = lambda size: most

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, torch.Tensor]:
        raise AssertionError

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        return [self._predictions for _ in images]


def test_an_ensemble_is_a_model_with_all_parameters_and_the_smallest_cap() -> None:
    models: list[Any] = [Fixed(found((square(2, 2), 0.5, 0)), 7), Fixed(found((square(2, 2), 0.25, 0)))]
    ensemble = Ensemble(models)
    assert sum(p.numel() for p in ensemble.module.parameters()) == 4
    assert ensemble.max_detections(SIZE) == 7
    assert Ensemble(models[1:]).max_detections(SIZE) == float("inf")
    both = ensemble.predict([np.zeros(SIZE, np.uint8)] * 2)
    assert [one.scores.tolist() for one in both] == [[0.375]] * 2
