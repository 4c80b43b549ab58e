"""Network, targets, losses and masks of cellpose 3 behind the harness's contract (docs/methods.md#cellpose)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from cellpose import dynamics, metrics, resnet_torch, transforms, utils
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from harness.contract import Init, Instances, LoadedWeights, Predictions, Recipe, Sample, Task
from harness.errors import NoWeightsError
from harness.masks.crops import CropMasks
from methods.cellpose import CellposeOptions
from methods.shared.device_transfer import to_device
from methods.shared.initial_weights import ClassHead, load_tensors
from methods.shared.label_maps import label_map
from methods.shared.weights import read_weights

MULTIPLE = 16
"""Resized sides are multiples of it: the network halves the image three times, and the package pads to 16."""

FLOW_FACTOR = 5.0
"""The network predicts flows of this length (cellpose/train.py)."""

FLOWS, CELL, CLASSES = slice(0, 2), 2, slice(3, None)
"""Channels of the output: flow along y and x, the logit of the cell probability, the logits of the classes."""

UNKNOWN_DIAMETER = 30.0
"""In pixels, for a data set without a cell."""

CLASS_HEADS = (ClassHead("output.2.", before=3, single=False),)
"""The layer with flows, cell probability and, for several classes, their logits."""

Image = NDArray[np.uint8]
Labels = NDArray[np.int32]


class CellposeModel:
    """cellpose's CPnet. Its parameters diam_mean and diam_labels hold the diameters after and before resizing."""

    def __init__(self, task: Task, options: CellposeOptions) -> None:
        self.task, self.options = task, options
        self.device = torch.device(task.device)
        widths = [options.width * factor for factor in (1, 2, 4, 8)]
        classes = len(task.classes) if len(task.classes) > 1 else 0
        self.module = resnet_torch.CPnet([2, *widths], 3 + classes, sz=3, diam_mean=options.target_diameter)
        diameter = options.diameter or task.cell_diameter or UNKNOWN_DIAMETER
        self.module.diam_labels.data[:] = diameter
        self.loaded: LoadedWeights | None = None

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, Tensor]:
        """cellpose's two losses: half the squared error of the flows, and binary cross-entropy of the cell probability.

        With several classes, the cross-entropy of the class inside cells too.
        """
        # a crop of a small image may be smaller than the others
        height, width = (max(sample.size[axis] for sample in batch) for axis in (0, 1))
        size = self._resized((height, width))
        images = torch.stack([self._input(sample.image, size, (height, width)) for sample in batch])
        maps = [_resize_labels(label_map(sample.instances, (height, width)), size) for sample in batch]
        targets = torch.stack([to_device(flow_targets(labels, self.device), self.device) for labels in maps])
        output = self.module(images)[0].float()
        losses = flow_and_cell_losses(output, targets)
        if len(self.task.classes) > 1:
            classes = [_class_map(labels, s.instances) for labels, s in zip(maps, batch, strict=True)]
            losses["class"] = class_loss(output[:, CLASSES], to_device(np.stack(classes), self.device))
        return losses

    @torch.no_grad()
    def predict(self, images: Sequence[Image]) -> list[Predictions]:
        return [self._predict(image) for image in images]

    def _predict(self, image: Image) -> Predictions:
        size = (image.shape[0], image.shape[1])
        output = self.module(self._input(image, self._resized(size), size)[None])[0][0].float().cpu().numpy()
        cells = reconstruct(output[FLOWS], output[CELL], self.options.cellprob_threshold, self.device)
        scores = cell_scores(cells, output[FLOWS], output[CELL], self.device)
        masks, numbers = CropMasks.from_label_image(cv2.resize(cells, size[::-1], interpolation=cv2.INTER_NEAREST))
        return Predictions(size, masks, scores[numbers - 1], class_of_cells(cells, output[CLASSES])[numbers - 1])

    def _resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width after resizing, each the nearest multiple of 16."""
        factor = float(self.module.diam_mean) / float(self.module.diam_labels)
        height, width = (max(MULTIPLE, MULTIPLE * round(side * factor / MULTIPLE)) for side in size)
        return height, width

    def _input(self, image: Image, size: tuple[int, int], padded: tuple[int, int]) -> Tensor:
        """(2, H, W): the grey image, stretched, padded by 0 and resized to `size`, and an empty second channel."""
        grey = image if image.ndim == 2 else image.mean(axis=2)
        stretched = transforms.normalize99(np.asarray(grey, np.float32))
        plane = to_device(stretched, self.device)[None, None]
        plane = F.pad(plane, (0, padded[1] - plane.shape[3], 0, padded[0] - plane.shape[2]))
        if plane.shape[-2:] != size:
            plane = F.interpolate(plane, size, mode="bilinear", align_corners=False, antialias=True)
        return torch.cat([plane[0], torch.zeros_like(plane[0])])


def flow_targets(labels: Labels, device: torch.device) -> NDArray[np.float32]:
    """(3, H, W): 1 inside cells, then the unit flow along y and x, as the package makes them of an (H, W) label map."""
    if not labels.any():
        return np.zeros((3, *labels.shape), np.float32)
    (flows,) = dynamics.labels_to_flows([labels.copy()], device=device)
    found: NDArray[np.float32] = flows[1:]
    return found


def flow_and_cell_losses(output: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """cellpose's loss (cellpose/train.py, `_loss_fn_seg`) in its two parts.

    Args:
        output: (B, 3 or more, H, W) of the network.
        targets: (B, 3, H, W) of `flow_targets`.
    """
    return {
        "flow": F.mse_loss(output[:, FLOWS], FLOW_FACTOR * targets[:, 1:]) / 2,
        "cell": F.binary_cross_entropy_with_logits(output[:, CELL], targets[:, 0]),
    }


def class_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Mean cross-entropy of (B, K, H, W) logits where the (B, H, W) classes are not -1. 0 where all are."""
    summed = F.cross_entropy(logits, classes, ignore_index=-1, reduction="sum")
    return summed / (classes >= 0).sum().clamp(min=1)


def reconstruct(
    flows: NDArray[np.float32], cell_logits: NDArray[np.float32], threshold: float, device: torch.device
) -> Labels:
    """(H, W) label image, 1 to N, by the package's dynamics, holes filled. No cell is left out for its flow error."""
    found = dynamics.compute_masks(flows, cell_logits, cellprob_threshold=threshold, flow_threshold=0, device=device)
    cells: Labels = utils.fill_holes_and_remove_small_masks(found, min_size=1).astype(np.int32)
    return cells


def cell_scores(
    cells: Labels, flows: NDArray[np.float32], cell_logits: NDArray[np.float32], device: torch.device
) -> NDArray[np.float32]:
    """(N,) mean probability of the cell's pixels over 1 + flow error, in 0 to 1.

    The flow error is the package's (cellpose/metrics.py, `flow_error`): the mean squared difference between the flows
    predicted and those of the mask. 0.4, its threshold, takes a cell's score from 1 to 0.71.
    """
    count = int(cells.max(initial=0))
    if not count:
        return np.zeros(0, np.float32)
    errors, _ = metrics.flow_error(cells, flows, device)
    probability = 1 / (1 + np.exp(-cell_logits))
    means = ndimage.mean(probability, cells, np.arange(1, count + 1))
    return (np.asarray(means) / (1 + np.asarray(errors))).astype(np.float32)


def class_of_cells(cells: Labels, logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N,) the class with the largest mean logit over the cell's pixels; 0 where there is one class, without logits."""
    numbers = np.arange(1, int(cells.max(initial=0)) + 1)
    if not len(logits) or not len(numbers):
        return np.zeros(len(numbers), np.int64)
    return np.stack([ndimage.mean(plane, cells, numbers) for plane in logits]).argmax(axis=0).astype(np.int64)


def _resize_labels(labels: Labels, size: tuple[int, int]) -> Labels:
    resized: Labels = cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST)
    return resized


def _class_map(labels: Labels, instances: Instances) -> NDArray[np.int64]:
    """(H, W) the class of each pixel's cell, -1 outside cells."""
    return np.concatenate([[-1], instances.labels]).astype(np.int64)[labels]


def build(recipe: Recipe, task: Task, options: CellposeOptions) -> CellposeModel:
    """cellpose's network on task.device, from scratch, from a file of its weights or from an earlier run.

    Raises:
        NoWeightsError: the weights do not fit, or the init slot asks for others than those of an earlier run.
    """
    init: Init = recipe.init.build(task)
    model = CellposeModel(task, options)
    if init.kind in ("imagenet", "coco"):
        raise NoWeightsError(
            f"cellpose has no {init.kind} weights; type --init scratch, or cellpose(weights=FILE) for its own"
        )
    if not init.restored:
        path = init.path if init.kind == "checkpoint" else options.weights
        if path is not None:
            # the diameter of the data at hand stays
            weights = _without(read_weights(path), "diam_labels")
            model.loaded = load_tensors(
                model.module, weights, path, init.classes, task.classes, CLASS_HEADS, ("diam_",)
            )
    model.module.to(task.device)
    return model


def _without(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in weights.items() if key != name}
