"""A model that sees images resized and answers in the pixels of the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.contract import LoadedWeights, Model, Predictions, Sample
from harness.transforms.resize import resize_masks, scaled_size
from harness.transforms.window import resize

if TYPE_CHECKING:
    import torch


def at_scale(model: Model, scale: float) -> Model:
    """The model, given images that are resized by a factor. The model itself where the factor is 1."""
    return model if scale == 1 else ScaledModel(model, scale)


class ScaledModel:
    """A Model whose network sees images resized by a factor. Samples for its losses are resized already.

    Predictions are in the pixels of the images: a model with `predict_at` draws its masks there, and the masks of any
    other are resized.
    """

    def __init__(self, model: Model, scale: float) -> None:
        self.model, self.scale = model, scale
        self.module = model.module
        if hasattr(model, "fit"):
            self.fit = model.fit

    @property
    def notes(self) -> Sequence[str]:
        return getattr(self.model, "notes", ())

    @property
    def loaded(self) -> LoadedWeights | None:
        return getattr(self.model, "loaded", None)

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, torch.Tensor]:
        return self.model.losses(batch)

    def max_detections(self, size: tuple[int, int]) -> float:
        """The most cells that the network can give for an image of that size; infinite where it does not say."""
        most = getattr(self.model, "max_detections", None)
        return float("inf") if most is None else float(most(scaled_size(size, self.scale)))

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        shown = [resize(image, *scaled_size(size, self.scale)) for image, size in zip(images, sizes, strict=True)]
        if hasattr(self.model, "predict_at"):
            found: list[Predictions] = self.model.predict_at(shown, sizes)
            return found
        return [_resized(x, size) for x, size in zip(self.model.predict(shown), sizes, strict=True)]


def _resized(found: Predictions, size: tuple[int, int]) -> Predictions:
    masks, kept = resize_masks(found.masks, found.size, size)
    return replace(found, size=size, masks=masks, scores=found.scores[kept], labels=found.labels[kept])
