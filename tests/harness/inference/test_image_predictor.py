"""An image with more cells than a network can give is divided; one of which a network knows nothing is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from harness.config.preset import load_preset
from harness.config.trial_spec import TrialSpec
from harness.contract import Predictions, Task
from harness.data.windows import WholeImage
from harness.evaluation.schema import PostprocessRule
from harness.inference.image_predictor import ImagePredictor
from harness.masks.crops import CropMasks
from harness.results.trained_trial import TrainedTrial

SIDE, PITCH, MOST = 256, 16, 100
"""Side of the image, distance of its cells, and the most cells that the network gives of any image."""


class Limited:
    """A network that gives at most MOST cells. It counts the images it has seen."""

    def __init__(self, find: Callable[[NDArray[np.uint8]], tuple[NDArray[np.int32], NDArray[np.float32]]]) -> None:
        self.find, self.seen, self.module = find, 0, torch.nn.Module()

    def losses(self, batch: Sequence[object]) -> dict[str, object]:
        raise AssertionError("it is not trained here")

    def max_detections(self, size: tuple[int, int]) -> int:
        return MOST

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        self.seen += len(images)
        return [self._one(image) for image in images]

    def _one(self, image: NDArray[np.uint8]) -> Predictions:
        boxes, scores = self.find(image)
        best = np.argsort(-scores, kind="stable")[:MOST]
        masks = [np.ones((y1 - y0, x1 - x0), np.uint8) for x0, y0, x1, y1 in boxes[best].tolist()]
        pixels = np.concatenate([mask.ravel() for mask in masks]) if masks else np.zeros(0, np.uint8)
        offsets = np.cumsum([0, *(mask.size for mask in masks)])
        found = CropMasks(boxes[best], pixels, offsets.astype(np.int64))
        size = (image.shape[0], image.shape[1])
        return Predictions(size, found, scores[best], np.zeros(len(best), np.int64))


def bright(image: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """A cell of 6 pixels around each bright pixel that lies so far inside the image."""
    y, x = np.nonzero(image[3:-2, 3:-2])
    boxes = np.stack([x, y, x + 6, y + 6], axis=1).astype(np.int32)
    return boxes, np.full(len(boxes), 0.9, np.float32)


def anything(image: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Boxes of half the image, nearly the same ones, as a network gives that has hardly learned."""
    rng, (height, width) = np.random.default_rng(0), image.shape[:2]
    corner = (rng.random((2 * MOST, 2)) * [width / 2, height / 2]).astype(np.int32)
    boxes = np.concatenate([corner, corner + np.asarray([width // 2, height // 2], np.int32)], axis=1)
    return boxes, rng.uniform(0.6, 0.7, len(boxes)).astype(np.float32)


def predictor(model: Limited, threshold: float) -> ImagePredictor:
    preset = load_preset("smoke")
    spec = TrialSpec(
        key="0" * 16,
        method="limited",
        seed=0,
        source="synthetic:",
        data_fingerprint="",
        split_fingerprint="",
        budget="1it",
        preset=preset,
        recipe={},
        slots_changed=[],
    )
    rule = PostprocessRule(score_thresholds={"cell": threshold}, min_areas={"cell": 1}, chosen_on="calibration")
    task = Task(("cell",), (0, 0, 0), (1, 1, 1), 64, MOST, (SIDE, SIDE), largest_cell=6)
    return ImagePredictor(model, task, TrainedTrial(Path(), spec, rule))


@pytest.fixture
def image() -> NDArray[np.uint8]:
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[PITCH // 2 :: PITCH, PITCH // 2 :: PITCH] = 255
    return pixels


def test_more_cells_than_the_network_can_give_are_found_in_parts(image: NDArray[np.uint8]) -> None:
    model = Limited(bright)
    found, notes = predictor(model, threshold=0.5).predict(WholeImage(image))
    assert len(found) == (SIDE // PITCH) ** 2 > MOST
    assert "more cells than the network can give at once" in notes[0]
    assert model.seen > 1


def test_a_network_that_has_hardly_learned_is_not_asked_again_and_again(image: NDArray[np.uint8]) -> None:
    model = Limited(anything)
    found, notes = predictor(model, threshold=0.5).predict(WholeImage(image))
    assert (len(found), notes, model.seen) == (MOST, [], 1)


def test_what_the_rule_drops_does_not_make_an_image_full(image: NDArray[np.uint8]) -> None:
    model = Limited(bright)
    assert len(predictor(model, threshold=0.95).predict(WholeImage(image))[0]) == MOST
    assert model.seen == 1
