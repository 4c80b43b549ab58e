"""A model that sees images resized and answers in the pixels of the images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.contract import LoadedWeights, Model, Predictions, Sample
from harness.transforms.resize import resize_masks, scaled_size
from harness.transforms.window import resize

if TYPE_CHECKING:
    import torch


Size = tuple[int, int]


def at_scale(model: Model, scale: float, by_size: Mapping[Size, float] | None = None) -> Model:
    """The model, given images that are resized by a factor. The model itself where the factor is always 1.

    by_size: factors for images of these heights and widths in place of `scale`.
    """
    return model if scale == 1 and not by_size else ScaledModel(model, scale, by_size)


@contextmanager
def tiles_of(model: Model, size: Size) -> Iterator[None]:
    """Inside, what `model` predicts are tiles of one image of that size, and are resized as it is.

    model: any, or one that wraps others and has them as `models`, as an ensemble does.
    """
    scaled = list(_scaled_models(model))
    for one in scaled:
        one.whole = size
    try:
        yield
    finally:
        for one in scaled:
            one.whole = None


def _scaled_models(model: Model) -> Iterator[ScaledModel]:
    if isinstance(model, ScaledModel):
        yield model
    for one in getattr(model, "models", ()):
        yield from _scaled_models(one)


class ScaledModel:
    """A Model whose network sees images resized by a factor. Samples for its losses are resized already.

    Predictions are in the pixels of the images: a model with `predict_at` draws its masks there, and the masks of any
    other are resized.

    whole: height and width of the image that the next images are tiles of; None where they are whole images.
    """

    whole: Size | None = None

    def __init__(self, model: Model, scale: float, by_size: Mapping[Size, float] | None = None) -> None:
        self.model, self.scale, self.by_size = model, scale, dict(by_size or {})
        self.module = model.module
        if hasattr(model, "fit"):
            self.fit = model.fit

    @property
    def notes(self) -> Sequence[str]:
        return getattr(self.model, "notes", ())

    @property
    def loaded(self) -> LoadedWeights | None:
        return getattr(self.model, "loaded", None)

    def _shown_size(self, size: Size) -> Size:
        """Height and width, for the network, of an image or tile of that size."""
        return scaled_size(size, self.by_size.get(self.whole or size, self.scale))

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, torch.Tensor]:
        return self.model.losses(batch)

    def max_detections(self, size: tuple[int, int]) -> float:
        """The most cells that the network can give for an image of that size; infinite where it does not say."""
        most = getattr(self.model, "max_detections", None)
        return float("inf") if most is None else float(most(self._shown_size(size)))

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        shown = [resize(image, *self._shown_size(size)) for image, size in zip(images, sizes, strict=True)]
        if hasattr(self.model, "predict_at"):
            found: list[Predictions] = self.model.predict_at(shown, sizes)
            return found
        return [_resized(x, size) for x, size in zip(self.model.predict(shown), sizes, strict=True)]


def _resized(found: Predictions, size: tuple[int, int]) -> Predictions:
    masks, kept = resize_masks(found.masks, found.size, size)
    return replace(found, size=size, masks=masks, scores=found.scores[kept], labels=found.labels[kept])
