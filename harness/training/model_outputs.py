"""Checks of what a model returns, so that an error names the method and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from harness.contract import Predictions
from harness.errors import HarnessError
from harness.masks.crops import CropMasks, crop_offsets


def validated_total_loss(losses: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The float32 sum of a model's losses, with its gradient. Does not wait for the device.

    Raises HarnessError, naming what is wrong, unless they are scalar tensors by name, one of them with a gradient.
    """
    if not isinstance(losses, Mapping):
        raise HarnessError(f"the method's losses() gave {_kind(losses)}, not a mapping of names to tensors")
    if not losses:
        raise HarnessError("the method's losses() gave no loss")
    for name, value in losses.items():
        if not isinstance(name, str):
            raise HarnessError(f"the method's losses() gave a loss named by {_kind(name)}, not by a text")
        if not isinstance(value, torch.Tensor):
            raise HarnessError(f"the method's loss {name!r} is {_kind(value)}, not a tensor")
        if value.ndim:
            raise HarnessError(f"the method's loss {name!r} is no scalar: its shape is {tuple(value.shape)}")
    total = torch.stack([value.float() for value in losses.values()]).sum()
    if not total.requires_grad:
        raise HarnessError("the method's losses have no gradient: none of them depends on a trained parameter")
    return total


def unwrap_single(given: Sequence[Predictions], image_id: str) -> Predictions:
    """The predictions of the one image that was predicted. Raises HarnessError unless `given` is a list of one."""
    if not isinstance(given, Sequence):
        raise HarnessError(f"the method's predict() gave {_kind(given)}, not a list of Predictions")
    if len(given) != 1:
        raise HarnessError(f"the method's predict() gave {len(given)} predictions for image {image_id} alone")
    return given[0]


def validate_predictions(predictions: Predictions, image_id: str, size: tuple[int, int], classes: int) -> None:
    """Raise HarnessError, naming what is wrong, unless these can be predictions of that image.

    size: height and width of the image. classes: number of classes of the data set.
    """
    wrong = _wrong_kind(predictions) or _wrong_shape(predictions) or _wrong_value(predictions, size, classes)
    if wrong:
        raise HarnessError(f"the method's predictions of image {image_id} {wrong}")


def _wrong_kind(predictions: Predictions) -> str:
    if not isinstance(predictions, Predictions):
        return f"are {_kind(predictions)}, not harness.contract.Predictions"
    masks = predictions.masks
    if not isinstance(masks, CropMasks):
        return f"have {_kind(masks)} for masks, not harness.masks.crops.CropMasks"
    arrays: dict[str, tuple[Any, type[np.generic]]] = {
        "scores": (predictions.scores, np.floating),
        "labels": (predictions.labels, np.integer),
        "boxes": (masks.boxes, np.integer),
        "pixels": (masks.pixels, np.uint8),
        "offsets": (masks.offsets, np.integer),
    }
    for name, (value, wanted) in arrays.items():
        if not isinstance(value, np.ndarray) or not np.issubdtype(value.dtype, wanted):
            return f"have {_kind(value)} for {name}, not a numpy array of {wanted.__name__}"
    return ""


def _wrong_shape(predictions: Predictions) -> str:
    masks, scores, labels = predictions.masks, predictions.scores, predictions.labels
    if masks.boxes.ndim != 2 or masks.boxes.shape[1] != 4:
        return f"have boxes of shape {masks.boxes.shape}, not (N, 4)"
    n = len(masks)
    if scores.shape != (n,) or labels.shape != (n,):
        return f"have {n} masks, scores of shape {scores.shape} and labels of shape {labels.shape}"
    if n and (masks.boxes[:, 2:] <= masks.boxes[:, :2]).any():
        return "have a box without a pixel"
    offsets = crop_offsets(masks.boxes)
    if not np.array_equal(masks.offsets, offsets) or masks.pixels.shape != (offsets[-1],):
        return f"have masks of other shapes than their boxes ({offsets[-1]:,} pixels)"
    return ""


def _wrong_value(predictions: Predictions, size: tuple[int, int], classes: int) -> str:
    (height, width), masks, scores, labels = size, predictions.masks, predictions.scores, predictions.labels
    if not isinstance(predictions.size, tuple | list) or tuple(predictions.size) != size:
        return f"are for an image of {predictions.size}, not {size}"
    if not len(masks):
        return ""
    if not (np.isfinite(scores).all() and 0 <= scores.min() <= scores.max() <= 1):
        return "have scores outside 0..1"
    if masks.boxes[:, :2].min() < 0 or masks.boxes[:, 2].max() > width or masks.boxes[:, 3].max() > height:
        return "lie outside the image"
    if labels.min() < 0 or labels.max() >= classes:
        return f"have labels {labels.min()} to {labels.max()} where there are {classes} classes"
    if masks.pixels.max() > 1:
        return "have masks of other values than 0 and 1"
    if not masks.areas().all():
        return "have a mask without a pixel"
    return ""


def _kind(value: Any) -> str:
    """The type of something in words: "a dict", "an array of float32"."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
