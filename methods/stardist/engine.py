"""StarDist's targets, losses and predictions behind the harness's contract (docs/methods.md#stardist)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from harness.contract import Init, LoadedWeights, Predictions, Recipe, Sample, Task
from harness.errors import NoWeightsError
from methods.shared.device_transfer import to_device
from methods.shared.initial_weights import ClassHead, load_initial
from methods.shared.label_maps import label_map
from methods.shared.prediction_caps import prediction_caps
from methods.stardist import StarDistOptions
from methods.stardist.network import DEPTH, StarDistNet
from methods.stardist.polygons import object_probabilities, polygon_masks, star_distances, suppress

DISTANCE_WEIGHT, BACKGROUND_WEIGHT = 0.2, 1e-4
"""Of the distance loss, and inside it of distances in the background (the paper's lambda_d and lambda_reg)."""

LOWEST_SCORE = 0.05
"""Polygons with a lower probability are not looked at; the harness's rule cuts at this or above."""

CANDIDATES_PER_DETECTION = 50
"""So many polygons for each that may be kept, those of the highest score, go into the suppression."""

CLASS_HEADS = (ClassHead("classes.", before=1),)
"""The layer of background and classes, which a network of one class lacks."""

Image = NDArray[np.uint8]


class StarDistModel:
    """The network with its training targets and the polygons of its predictions."""

    def __init__(self, task: Task, options: StarDistOptions) -> None:
        self.task, self.options = task, options
        self.loaded: LoadedWeights | None = None
        self.device = torch.device(task.device)
        self.module = StarDistNet(
            options.width, options.features, options.rays, options.grid, len(task.classes), norm=options.norm == "GN"
        )

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, Tensor]:
        """Binary cross-entropy of the object probability, weighted distances, and of several classes their entropy."""
        height, width = (max(sample.size[axis] for sample in batch) for axis in (0, 1))
        logits, distances, classes = self._outputs([sample.image for sample in batch])
        maps = [label_map(sample.instances, (height, width)) for sample in batch]
        sampled = [labels[:: self.options.grid, :: self.options.grid] for labels in maps]
        wanted = self._stacked([object_probabilities(labels) for labels in sampled])
        reach = self._stacked([star_distances(m, self.options.rays, self.options.grid) for m in maps])
        h, w = wanted.shape[1:]
        losses = {
            "probability": F.binary_cross_entropy_with_logits(logits[:, :h, :w], wanted),
            "distance": DISTANCE_WEIGHT * distance_loss(distances[..., :h, :w].permute(0, 2, 3, 1), reach, wanted),
        }
        if classes is not None:
            table = [np.concatenate([[0], s.instances.labels + 1]).astype(np.int64) for s in batch]
            of_pixels = self._stacked([t[labels] for t, labels in zip(table, sampled, strict=True)])
            losses["class"] = F.cross_entropy(classes[..., :h, :w], of_pixels)
        return losses

    @torch.no_grad()
    def predict(self, images: Sequence[Image]) -> list[Predictions]:
        return [self._predict(image) for image in images]

    def _predict(self, image: Image) -> Predictions:
        size, grid = (image.shape[0], image.shape[1]), self.options.grid
        logits, distances, classes = self._outputs([image])
        h, w = -(-size[0] // grid), -(-size[1] // grid)
        chance = logits[0, :h, :w].sigmoid().cpu().numpy()
        most = prediction_caps(self.task, 0, [size]).detections
        y, x = candidates(chance, CANDIDATES_PER_DETECTION * most)
        rays = distances[0, :, :h, :w].cpu().numpy()[:, y, x].T
        middles = np.stack([y, x], axis=1).astype(np.float32) * grid
        kept = suppress(middles, rays, chance[y, x], self.options.nms_threshold, most)
        masks = polygon_masks(middles[kept], rays[kept], size)
        labels = np.zeros(len(kept), np.int64)
        if classes is not None:
            labels = classes[0, 1:, :h, :w].argmax(dim=0).cpu().numpy()[y[kept], x[kept]]
        return Predictions(size, masks, chance[y[kept], x[kept]], labels)

    def pixel_statistics(self) -> tuple[float, float]:
        """Mean and standard deviation, 0 to 255, that grey images are normalised with."""
        return float(np.mean(self.task.pixel_mean)), float(np.mean(self.task.pixel_std)) or 1.0

    def _outputs(self, images: Sequence[Image]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Of the images, padded on the right and below to sides that the network takes, in float32."""
        multiple = self.options.grid * 2**DEPTH
        height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
        mean, std = self.pixel_statistics()
        planes = []
        for image in images:
            grey = np.asarray(image if image.ndim == 2 else image.mean(axis=2), np.float32)
            plane = (to_device(grey, self.device) - mean) / std
            right, below = width + -width % multiple - grey.shape[1], height + -height % multiple - grey.shape[0]
            planes.append(F.pad(plane, (0, right, 0, below)))
        logits, distances, classes = self.module(torch.stack(planes)[:, None])
        return logits.float(), distances.float(), None if classes is None else classes.float()

    def _stacked(self, arrays: Sequence[NDArray]) -> Tensor:
        return to_device(np.stack(arrays), self.device)


def distance_loss(found: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """The mean absolute error of (B, h, w, rays) distances, weighted by the (B, h, w) object probability.

    Distances in the background are pulled to 0 a little (stardist/models/base.py, `masked_loss_mae`).
    """
    error = (weight * (found - wanted).abs().mean(dim=-1)).mean() / (weight.mean() + 1e-7)
    return error + BACKGROUND_WEIGHT * ((1 - weight) * found.abs().mean(dim=-1)).mean()


def candidates(chance: NDArray[np.float32], most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the (h, w) probabilities that are not too low, at most so many, the highest ones."""
    where = np.flatnonzero(chance >= LOWEST_SCORE)
    if len(where) > most:
        where = where[np.argsort(-chance.ravel()[where], kind="stable")[:most]]
    y, x = np.unravel_index(where, chance.shape)
    return y, x


def build(recipe: Recipe, task: Task, options: StarDistOptions) -> StarDistModel:
    """StarDist on task.device, from scratch or from an earlier run.

    Raises:
        NoWeightsError: the init slot asks for weights that StarDist does not have, or that do not fit.
    """
    init: Init = recipe.init.build(task)
    model = StarDistModel(task, options)
    if init.kind in ("imagenet", "coco"):
        raise NoWeightsError(f"stardist has no {init.kind} weights; type --init scratch, or --init checkpoint:FILE")
    if init.kind == "checkpoint" and not init.restored:
        loaded = load_initial(model.module, init, task.classes, CLASS_HEADS, ("class_features.",))
        mean, std = model.pixel_statistics()
        model.loaded = replace(loaded, pixel_mean=(mean,), pixel_std=(std,))
    model.module.to(task.device)
    return model
