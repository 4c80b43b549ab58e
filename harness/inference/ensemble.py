"""Several trained models as one: what they find of one cell is grouped, and masks and scores are averaged.

As weighted boxes fusion (Solovyev, Wang, Gabruseva, Image and Vision Computing 107, 2021), with masks in place of
boxes. A cell that only some of the models find gets a lower score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.contract import Model, Predictions, Sample
from harness.masks.crops import CropMasks

if TYPE_CHECKING:
    import torch

SAME_CELL = 0.5
"""Masks of two models are of one cell where their IoU is at least this."""


class Ensemble:
    """A Model that predicts with several. It is not trained."""

    def __init__(self, models: Sequence[Model]) -> None:
        """models: at least one, with the same classes, each in the pixels of the images."""
        from torch import nn

        self.models = tuple(models)
        self.module: torch.nn.Module = nn.ModuleList([model.module for model in models])

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, torch.Tensor]:
        raise NotImplementedError("an ensemble is not trained")

    def max_detections(self, size: tuple[int, int]) -> float:
        """The most cells that one of the models can give for an image of that size; infinite where none says."""
        limits = [most(size) for model in self.models if (most := getattr(model, "max_detections", None)) is not None]
        return min(limits, default=float("inf"))

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        found = [model.predict(images) for model in self.models]
        return [average_predictions(of_image) for of_image in zip(*found, strict=True)]


def average_predictions(found: Sequence[Predictions]) -> Predictions:
    """The average of what several models find on one image.

    Predictions are visited in the order of their scores. Each joins the group of its label whose first mask it shares
    at least SAME_CELL with, by IoU, where the group has none of its model; else it begins a group. The mask of a group
    holds the pixels that masks with half of the group's scores hold. Its score is the sum of the group's scores over
    the number of models.

    Args:
        found: of each model, for the same image.
    """
    together = CropMasks.concatenate([one.masks for one in found])
    scores = np.concatenate([one.scores for one in found]).astype(np.float64)
    labels = np.concatenate([one.labels for one in found])
    model = np.repeat(np.arange(len(found)), [len(one) for one in found])
    order = np.argsort(-scores, kind="stable")
    groups = _grouped(together, labels, model, order)
    boxes, crops = [], []
    for group in groups:
        box, crop = _voted(together, group, scores)
        boxes.append(box)
        crops.append(crop)
    masks, kept = CropMasks.from_crops(np.asarray(boxes, np.int32).reshape(-1, 4), crops).tight()
    averaged = np.asarray([scores[group].sum() / len(found) for group in groups], np.float32)
    of_group = np.asarray([labels[group[0]] for group in groups], np.int64)
    return Predictions(found[0].size, masks, averaged[kept], of_group[kept])


def _grouped(
    masks: CropMasks, labels: NDArray[np.int64], model: NDArray[np.int64], order: NDArray[np.int64]
) -> list[list[int]]:
    """The indices of each group, the highest score first."""
    groups: list[list[int]] = []
    areas = masks.areas()
    first = np.zeros((len(masks), 4), np.int32)
    first_label = np.zeros(len(masks), np.int64)
    for i in order.tolist():
        box = masks.boxes[i]
        known = first[: len(groups)]
        touching = (known[:, :2] < box[2:]).all(axis=1) & (box[:2] < known[:, 2:]).all(axis=1)
        touching &= first_label[: len(groups)] == labels[i]
        best, best_iou = -1, SAME_CELL
        for g in np.flatnonzero(touching).tolist():
            if model[i] in model[groups[g]]:
                continue
            shared = _shared(masks, i, groups[g][0])
            iou = shared / float(areas[i] + areas[groups[g][0]] - shared)
            if iou >= best_iou and (best < 0 or iou > best_iou):
                best, best_iou = g, iou
        if best >= 0:
            groups[best].append(i)
            continue
        first[len(groups)], first_label[len(groups)] = box, labels[i]
        groups.append([i])
    return groups


def _shared(masks: CropMasks, i: int, j: int) -> int:
    """The pixels that two masks share, whose boxes overlap."""
    a, b = masks.boxes[i].tolist(), masks.boxes[j].tolist()
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    first = masks.crop(i)[y0 - a[1] : y1 - a[1], x0 - a[0] : x1 - a[0]]
    second = masks.crop(j)[y0 - b[1] : y1 - b[1], x0 - b[0] : x1 - b[0]]
    return int(np.count_nonzero(first & second))


def _voted(
    masks: CropMasks, group: Sequence[int], scores: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The box around a group, and the pixels in it that masks with half of the group's scores hold."""
    boxes = masks.boxes[list(group)]
    around = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    votes = np.zeros((around[3] - around[1], around[2] - around[0]), np.float64)
    for i in group:
        x0, y0, x1, y1 = (masks.boxes[i] - around[[0, 1, 0, 1]]).tolist()
        votes[y0:y1, x0:x1] += scores[i] * masks.crop(i)
    # rounding must not decide where exactly half of the scores hold a pixel
    return around, votes >= 0.5 * scores[list(group)].sum() - 1e-9
