"""Predicts whole images, and measures the time that each takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from harness.config.precision import Precision
from harness.contract import Model, Predictions, Sample
from harness.training.device import autocast, synchroniser
from harness.training.model_outputs import unwrap_single, validate_predictions


def predict_all(
    model: Model,
    samples: Iterable[Sample],
    classes: int,
    device: str,
    minimum_score: float,
    each: Callable[[int, float], None] = lambda done, milliseconds: None,
    precision: Precision = "auto",
) -> tuple[dict[str, Predictions], list[float]]:
    """Predict images one at a time, in eval mode and without gradients: what a single image costs a user.

    Args:
        model: what predicts.
        samples: the images; their annotations are not used.
        classes: the number of classes, which bounds the labels.
        device: "cpu", "mps" or "cuda[:N]".
        minimum_score: predictions below it are dropped.
        each: called after each image with the number of images done and the milliseconds of the last.
        precision: of matrix products and convolutions.

    Returns:
        Predictions by image id, and the milliseconds of each image, from pixels in memory to cropped masks.

    Raises:
        HarnessError: the model returns something that is not a prediction.
    """
    model.module.eval()
    wait = synchroniser(device)
    found: dict[str, Predictions] = {}
    times: list[float] = []
    with torch.no_grad():
        for sample in samples:
            wait()
            begin = time.perf_counter()
            with autocast(device, precision):
                given = model.predict([sample.image])
            wait()
            times.append(1000 * (time.perf_counter() - begin))
            predictions = unwrap_single(given, sample.image_id)
            validate_predictions(predictions, sample, classes)
            found[sample.image_id] = _above(predictions, minimum_score)
            each(len(found), times[-1])
    return found, times


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
