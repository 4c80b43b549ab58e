"""A method that takes seconds: pixels brighter than a learnt threshold are cells. Given to the harness by --adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.contract import Card, Method, Part, Predictions, Recipe, Sample, Task
from harness.masks.crops import CropMasks

SLOPE = 4.0


class Brightness:
    """Its predictions depend on its weights (the threshold), the task (scaling of pixels) and the options."""

    def __init__(self, task: Task, smallest: int) -> None:
        self.task, self.smallest = task, smallest
        self.module = nn.Module()
        self.module.threshold = nn.Parameter(torch.tensor(0.3, device=task.device))

    def _logits(self, image: NDArray[np.uint8]) -> Tensor:
        grey = image if image.ndim == 2 else image.mean(axis=2)
        scaled = (torch.from_numpy(np.array(grey, np.float32)) - self.task.pixel_mean[0]) / self.task.pixel_std[0]
        return SLOPE * (scaled.to(self.task.device) - self.module.threshold)

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, Tensor]:
        losses = []
        for sample in batch:
            inside = np.zeros(sample.size[0] * sample.size[1], np.float32)
            assert sample.instances.masks is not None
            inside[sample.instances.masks.set_pixels(sample.size[1])[0]] = 1
            target = torch.from_numpy(inside.reshape(sample.size)).to(self.task.device)
            losses.append(nn.functional.binary_cross_entropy_with_logits(self._logits(sample.image), target))
        return {"brightness": torch.stack(losses).mean()}

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        return [self._predict(image) for image in images]

    def _predict(self, image: NDArray[np.uint8]) -> Predictions:
        from scipy import ndimage

        if min(image.shape[:2]) < 2:
            raise RuntimeError("too small")
        chance = self._logits(image).sigmoid().float().cpu().numpy()
        masks, _ = CropMasks.from_label_image(ndimage.label(chance > 0.5)[0])
        masks = masks.select(masks.areas() >= self.smallest)
        index, owner = masks.set_pixels(image.shape[1])
        scores = np.bincount(owner, chance.ravel()[index], minlength=len(masks)) / np.maximum(masks.areas(), 1)
        labels = np.arange(len(masks)) % len(self.task.classes)
        return Predictions((image.shape[0], image.shape[1]), masks, scores.astype(np.float32), labels)


def build(recipe: Recipe, task: Task, *, smallest: int = 1) -> Brightness:
    return Brightness(task, smallest)


METHOD = Method(
    "brightness",
    Card("Bright is cell", "none", 2021, "none", "an engine of its own"),
    {"engine": Part("brightness", f"{__name__}:build", {"smallest": 4})},
    supported_slots=("augment",),
)
