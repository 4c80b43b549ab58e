"""A model at a scale sees resized images and answers in the pixels of the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.contract import Predictions, Sample
from harness.inference.ensemble import Ensemble
from harness.inference.predictor import predict_all
from harness.inference.scaled import at_scale, tiles_of
from harness.masks.crops import CropMasks


class Bright:
    """Finds the bright part of an image, as one cell."""

    notes = ("a note",)

    def __init__(self) -> None:
        self.module = torch.nn.Module()
        self.seen: list[tuple[int, ...]] = []

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, torch.Tensor]:
        return {"loss": torch.zeros(())}

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        self.seen += [image.shape for image in images]
        return [found(image, (image.shape[0], image.shape[1])) for image in images]


class BrightAt(Bright):
    """Draws its masks at any size by itself."""

    def predict_at(self, images: Sequence[NDArray[np.uint8]], sizes: Sequence[tuple[int, int]]) -> list[Predictions]:
        self.seen += [image.shape for image in images]
        return [found(np.full(size, 255, np.uint8), size) for size in sizes]


def found(image: NDArray[np.uint8], size: tuple[int, int]) -> Predictions:
    masks = CropMasks.from_planes((image >= 128)[None])
    return Predictions(size, masks, np.ones(1, np.float32), np.zeros(1, np.int64))


def square() -> NDArray[np.uint8]:
    image = np.zeros((60, 80), np.uint8)
    image[20:40, 20:60] = 255
    return image


def test_a_model_at_scale_one_is_the_model() -> None:
    model = Bright()
    assert at_scale(model, 1.0) is model


def test_masks_come_back_in_the_pixels_of_the_image() -> None:
    for scale, seen in ((0.5, (30, 40)), (2.0, (120, 160)), (0.35, (21, 28))):
        model = Bright()
        (answer,) = at_scale(model, scale).predict([square()])
        assert model.seen == [seen]
        assert answer.size == (60, 80)
        assert np.abs(answer.masks.boxes[0] - (20, 20, 60, 40)).max() <= 1


def test_images_of_some_sizes_have_a_scale_of_their_own() -> None:
    model = Bright()
    scaled = at_scale(model, 1.0, {(60, 80): 0.5})
    other = np.full((30, 30), 255, np.uint8)
    answers = scaled.predict([square(), other])
    assert model.seen == [(30, 40), (30, 30)]
    assert [answer.size for answer in answers] == [(60, 80), (30, 30)]


def test_tiles_are_resized_as_their_image_is() -> None:
    model = Bright()
    scaled = at_scale(model, 1.0, {(60, 80): 0.5, (600, 800): 2.0})
    with tiles_of(Ensemble([scaled]), (600, 800)):
        scaled.predict([square()])
    scaled.predict([square()])
    assert model.seen == [(120, 160), (30, 40)]


def test_a_model_that_draws_at_any_size_is_asked_to() -> None:
    model = BrightAt()
    (answer,) = at_scale(model, 0.5).predict([square()])
    assert model.seen == [(30, 40)]
    assert answer.masks.boxes.tolist() == [[0, 0, 80, 60]]


def test_a_mask_too_small_to_come_back_is_left_out_with_its_score() -> None:
    image = np.zeros((8, 8), np.uint8)
    image[0, 0] = 255
    (answer,) = at_scale(Bright(), 8.0).predict([image])
    assert len(answer.masks) == len(answer.scores) == len(answer.labels)


def test_predictions_of_a_scaled_model_pass_the_predictor() -> None:
    sample: Any = Sample("a", square(), None)  # type: ignore[arg-type]
    done = predict_all(at_scale(Bright(), 0.35), [sample], 1, "cpu", 0.05)
    assert done.found["a"].size == (60, 80)
    assert len(done.milliseconds) == 1


def test_notes_of_the_model_are_kept() -> None:
    assert list(at_scale(Bright(), 0.5).notes) == ["a note"]  # type: ignore[attr-defined]
