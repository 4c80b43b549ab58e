"""my_method: a method of its own, not a change to Mask R-CNN.

An engine builds a model that gives losses in training and predictions afterwards; harness.contract.Model has the whole
contract. This one labels every pixel, finds the middles of cells, and gives each pixel to the nearest middle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from harness.contract import Card, Method, Part, Predictions, Recipe, Sample, Task
from harness.masks.crops import CropMasks
from harness.transforms.grey import grey_stack

METHOD = Method(
    name="my_method",
    # Fill in the card: `python -m harness methods my_method` prints it.
    card=Card(
        title="my_method",
        paper="unpublished",
        year=2021,
        venue="none",
        changes="engine: says in one sentence how it works",
        labels="full masks",
        departures=(),
    ),
    # Options are JSON values, arguments of build() below. They are written into every record, and a user types
    # my_method(width=32). Those of size "small" are for presets that run on a CPU.
    parts={"engine": Part("my_method", f"{__name__}:build", {"width": 32}, {"small": {"width": 16}})},
    # The slots that this engine reads, so that other methods can change them: my_method+copy_paste works.
    supported_slots=("augment",),
)

PAD = 8
"""The network halves the image three times."""


class Network(nn.Module):
    """A small U-Net: (B, 1, H, W) to (B, outputs, H, W)."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width, 8 * width)
        self.down = nn.ModuleList(block(a, b) for a, b in zip((1, *widths), widths, strict=False))
        self.up = nn.ModuleList(block(a + b, a) for a, b in pairwise(widths))
        self.predictor = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for i, stage in enumerate(self.down):
            x = stage(F.max_pool2d(x, 2) if i else x)
            kept.append(x)
        x = kept.pop()
        for stage in reversed(self.up):
            x = stage(torch.cat([kept.pop(), F.interpolate(x, scale_factor=2)], dim=1))
        out: Tensor = self.predictor(x)
        return out


def block(inside: int, outside: int) -> nn.Sequential:
    """A convolution. GroupNorm, since batches are small."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.GroupNorm(8, outside), nn.ReLU(inplace=True)
    )


class MyModel:
    """What the harness trains, saves and asks for predictions.

    module: every parameter; it is on task.device, and its state_dict is the checkpoint.
    """

    def __init__(self, task: Task, width: int) -> None:
        self.task = task
        # background and classes by softmax, and one output for the middles of cells
        self.module: nn.Module = Network(width, len(task.classes) + 2).to(task.device)

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, Tensor]:
        """Scalar losses by name. Images may differ in size, be grey or colour, and hold no cell at all."""
        classes, middles = zip(*(targets(sample) for sample in batch), strict=True)
        height, width = (max(sample.size[axis] for sample in batch) for axis in (0, 1))
        logits = self._logits([sample.image for sample in batch])[..., :height, :width]
        wanted = torch.stack([padded(plane, height, width, -1) for plane in classes]).to(logits.device)
        middle = torch.stack([padded(plane, height, width, 0) for plane in middles]).to(logits.device)
        return {
            "class": F.cross_entropy(logits[:, :-1], wanted.long(), ignore_index=-1),
            "middle": F.binary_cross_entropy_with_logits(logits[:, -1], middle.to(logits.dtype)),
        }

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        """Cells of each image in its own pixels. Overlaps, thresholds and small specks are the harness's business."""
        return [self._predict(image) for image in images]

    def _predict(self, image: NDArray[np.uint8]) -> Predictions:
        height, width = image.shape[:2]
        logits = self._logits([image])[0, :, :height, :width].float().cpu()
        classes = logits[:-1].softmax(0).numpy()
        inside = classes[0] < 0.5
        seeds, _ = ndimage.label((logits[-1].numpy() > 0) & inside)
        nearest = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
        grown = np.where(inside, seeds[tuple(nearest)], 0)
        masks, cells = CropMasks.from_label_image(grown)
        means = [ndimage.mean(plane, grown, cells) for plane in classes[1:]]
        share = np.asarray(means, np.float32).reshape(len(classes) - 1, len(cells))
        scores = share.sum(axis=0).clip(0, 1).astype(np.float32)
        return Predictions((height, width), masks, scores, share.argmax(axis=0).astype(np.int64))

    def _logits(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """(B, outputs, H, W), H and W a multiple of PAD that holds the largest image."""
        planes = torch.from_numpy(grey_stack(images, self.task, PAD))
        logits: Tensor = self.module(planes.to(self.task.device))
        return logits


def targets(sample: Sample) -> tuple[Tensor, Tensor]:
    """(H, W) int64: 0 for background, else 1 + class. (H, W) of 0 and 1: middles, the inner half of each cell."""
    classes, middles = np.zeros(sample.size, np.int64), np.zeros(sample.size, np.float32)
    cells = sample.instances
    assert cells.masks is not None, "this method needs masks"
    for label, (x0, y0, x1, y1), crop in zip(cells.labels, cells.boxes, cells.masks, strict=True):
        depth = ndimage.distance_transform_edt(np.pad(crop, 1))[1:-1, 1:-1]
        classes[y0:y1, x0:x1][crop > 0] = label + 1
        # where cells touch, the border of the later one parts the middles
        middles[y0:y1, x0:x1][crop > 0] = (depth > depth.max() / 2)[crop > 0]
    return torch.from_numpy(classes), torch.from_numpy(middles)


def padded(plane: Tensor, height: int, width: int, value: float) -> Tensor:
    """The (H, W) plane with `value` to its right and below."""
    return F.pad(plane, (0, width - plane.shape[1], 0, height - plane.shape[0]), value=value)


def build(recipe: Recipe, task: Task, width: int = 32) -> MyModel:
    """width: channels of the finest stage, a multiple of 8. task: the classes, the pixels, the device; see Task."""
    return MyModel(task, width)
