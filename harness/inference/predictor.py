"""Predicts the images of a data set, and measures the time that each takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from harness.config.precision import Precision
from harness.contract import Model, Predictions, Sample
from harness.data.windows import WholeImage
from harness.inference.grid import Grid, TilingPolicy
from harness.inference.scaled import tiles_of
from harness.inference.tiles import predict_in_tiles
from harness.training.device import autocast, synchroniser
from harness.training.model_outputs import unwrap_single, validate_predictions


@dataclass
class Predicted:
    """What was found, and what it took.

    found: predictions by image id. milliseconds: of each image, from pixels in memory to cropped masks.
    notes: what was done to images, each once, in order.
    """

    found: dict[str, Predictions] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)


def predict_all(
    model: Model,
    samples: Iterable[Sample],
    classes: int,
    device: str,
    minimum_score: float,
    each: Callable[[float, float], None] = lambda done, milliseconds: None,
    precision: Precision = "auto",
    tiling: TilingPolicy | None = None,
) -> Predicted:
    """Predict images one at a time: what a single image costs a user.

    Args:
        model: what predicts.
        samples: the images; their annotations are not used.
        classes, device, minimum_score, precision: see `predict_image`.
        each: called after each image, and after each tile of a large one, with the number of images done, the done part
            of a large one included, and the milliseconds that the last one took, or is expected to take.
        tiling: which images are predicted in tiles, and how; None where all are predicted whole.

    Raises:
        HarnessError: the model returns something that is not a prediction.
        MemoryError: the memory does not suffice for the smallest tile.
    """
    done = Predicted()

    def predict(image: NDArray[np.uint8], name: str) -> tuple[Predictions, float]:
        return predict_image(model, image, classes, device, minimum_score, precision, name)

    def predict_large(image: NDArray[np.uint8], name: str, grid: Grid) -> tuple[Predictions, float]:
        begin = time.perf_counter()

        def each_tile(tile: int, tiles: int) -> None:
            each(len(done.found) + tile / tiles, 1000 * (time.perf_counter() - begin) * tiles / tile)

        with tiles_of(model, (image.shape[0], image.shape[1])):
            tiled = predict_in_tiles(WholeImage(image), lambda tile: predict(tile, name)[0], grid, each=each_tile)
        done.notes.update(dict.fromkeys([f"large images were predicted in {grid}", *tiled.notes]))
        return tiled.found, 1000 * (time.perf_counter() - begin)

    for sample in samples:
        if tiling is not None and tiling.applies_to(sample.size):
            found, milliseconds = predict_large(sample.image, sample.image_id, tiling.grid(sample.size))
        else:
            found, milliseconds = predict(sample.image, sample.image_id)
        done.found[sample.image_id] = found
        done.milliseconds.append(milliseconds)
        each(len(done.found), milliseconds)
    return done


def predict_image(
    model: Model,
    image: NDArray[np.uint8],
    classes: int,
    device: str,
    minimum_score: float,
    precision: Precision = "auto",
    image_id: str = "image",
) -> tuple[Predictions, float]:
    """Predict one image, in eval mode and without gradients.

    Args:
        model: what predicts.
        image: (H, W) or (H, W, 3).
        classes: the number of classes, which bounds the labels.
        device: "cpu", "mps" or "cuda[:N]".
        minimum_score: predictions below it are dropped.
        precision: of matrix products and convolutions.
        image_id: names the image where something is wrong.

    Returns:
        Predictions, and the milliseconds from pixels in memory to cropped masks.

    Raises:
        HarnessError: the model returns something that is not a prediction.
    """
    model.module.eval()
    wait = synchroniser(device)
    wait()
    begin = time.perf_counter()
    with torch.no_grad(), autocast(device, precision):
        given = model.predict([image])
    wait()
    milliseconds = 1000 * (time.perf_counter() - begin)
    predictions = unwrap_single(given, image_id)
    validate_predictions(predictions, image_id, (image.shape[0], image.shape[1]), classes)
    return _above(predictions, minimum_score), milliseconds


def _above(predictions: Predictions, minimum_score: float) -> Predictions:
    kept = np.flatnonzero(predictions.scores >= minimum_score)
    if len(kept) == len(predictions):
        return predictions
    return replace(
        predictions,
        masks=predictions.masks.select(kept),
        scores=predictions.scores[kept],
        labels=predictions.labels[kept],
    )


def median_without_first(times: Sequence[float]) -> float | None:
    """The median time. The first image is left out where there are others: it includes one-time work."""
    rest = times[1:] if len(times) > 1 else times
    return float(np.median(rest)) if len(rest) else None
