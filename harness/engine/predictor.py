"""Predictions of whole images, timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from harness.contract import Model, Predictions, Sample
from harness.engine.device import autocast, synchroniser
from harness.errors import HarnessError


def predict_all(
    model: Model,
    samples: Iterable[Sample],
    device: str,
    minimum_score: float,
    each: Callable[[int, float], None] = lambda done, milliseconds: None,
) -> tuple[dict[str, Predictions], list[float]]:
    """Predictions by image id and the milliseconds each image took, from pixels in memory to cropped masks.

    One image at a time, in eval mode, without gradients: what a user's image costs. `each` hears how many are done.
    Predictions below minimum_score are dropped. Raises HarnessError where a model gives what is no prediction.
    """
    model.module.eval()
    wait = synchroniser(device)
    found: dict[str, Predictions] = {}
    times: list[float] = []
    with torch.no_grad():
        for sample in samples:
            wait()
            begin = time.perf_counter()
            with autocast(device):
                (predictions,) = model.predict([sample.image])
            wait()
            times.append(1000 * (time.perf_counter() - begin))
            check(predictions, sample)
            found[sample.image_id] = _above(predictions, minimum_score)
            each(len(found), times[-1])
    return found, times


def check(predictions: Predictions, sample: Sample) -> None:
    """Raise HarnessError, naming what is wrong, unless these can be predictions of that image."""
    n, (height, width) = len(predictions.scores), sample.size
    boxes = predictions.masks.boxes
    wrong = None
    if tuple(predictions.size) != (height, width):
        wrong = f"are for an image of {predictions.size}, not {sample.size}"
    elif len(boxes) != n or predictions.labels.shape != (n,) or predictions.scores.ndim != 1:
        wrong = f"have {len(boxes)} masks, {n} scores and labels of shape {predictions.labels.shape}"
    elif n and not (
        np.isfinite(predictions.scores).all() and 0 <= predictions.scores.min() <= predictions.scores.max() <= 1
    ):
        wrong = "have scores outside 0..1"
    elif n and (boxes[:, :2].min() < 0 or boxes[:, 2].max() > width or boxes[:, 3].max() > height):
        wrong = "lie outside the image"
    elif n and (boxes[:, 2:] <= boxes[:, :2]).any():
        wrong = "have a box without a pixel"
    elif n and predictions.labels.min() < 0:
        wrong = "have a negative label"
    if wrong:
        raise HarnessError(f"the method's predictions of image {sample.image_id} {wrong}")


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


def typical(times: Sequence[float]) -> float | None:
    """The median, the first image left out where there are others: it pays for what is made once."""
    rest = times[1:] if len(times) > 1 else times
    return float(np.median(rest)) if len(rest) else None
