"""MaskFormer's losses and predictions behind the harness's contract (docs/methods.md#maskformer)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import MaskFormerForInstanceSegmentation

from harness.contract import Init, LoadedWeights, Predictions, Recipe, Sample, Task
from harness.errors import NoWeightsError
from harness.masks.crops import CropMasks, extent
from methods.maskformer import MaskFormerOptions
from methods.maskformer.network import STRIDE, QueryOutputs, build_network, query_outputs
from methods.maskformer.windows import Window, windows
from methods.shared.device_transfer import to_device
from methods.shared.initial_weights import ClassHead, load_initial
from methods.shared.weights import read_weights

FEWEST_QUERIES = 10
"""For data whose crops hold a cell or two."""

UNKNOWN_DIAMETER = 32.0
"""In pixels, for a data set without a cell."""

LARGEST_SIDE = 1024
"""Of a crop as the network sees it, in pixels: crops of few large cells, or of thousands, are not enlarged beyond."""

PIXELS_AT_ONCE = 2**19
"""Of windows that are predicted together, as the network sees them."""

CLASS_HEADS = (ClassHead("class_predictor.", after=1),)
"""The layer of classes and no object."""

LOSS_WEIGHTS = "criterion."
"""What the loss weighs the classes with. It is an option, and no weight that is learned."""

QUERIES = "model.transformer_module.queries_embedder.weight"
"""The learned queries: (queries, width)."""

Image = NDArray[np.uint8]


class Cell(NamedTuple):
    """A predicted cell. box: x0 y0 x1 y1 in pixels of the image, half open. mask: inside the box."""

    box: tuple[int, int, int, int]
    mask: NDArray[np.bool_]
    score: float
    label: int


class MaskFormerModel:
    """The package's network, with windows for images that are larger than a training crop."""

    def __init__(self, task: Task, options: MaskFormerOptions, queries: int | None = None) -> None:
        """queries: of the weights that the model starts from; None for as many as the cells ask for."""
        self.task = task
        self.device = torch.device(task.device)
        diameter = task.cell_diameter or UNKNOWN_DIAMETER
        factor = min(options.target_diameter / diameter, LARGEST_SIDE / task.crop)
        self.side = max(2 * STRIDE, STRIDE * round(task.crop * factor / STRIDE))
        queries = options.queries or queries or queries_for(task, diameter)
        self.module = build_network(options, len(task.classes), queries)
        self.loaded: LoadedWeights | None = None

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, Tensor]:
        """The paper's losses of classes and masks (focal and Dice), summed over the layers of the decoder."""
        crop = max(self.task.crop, *(side for sample in batch for side in sample.size))
        outputs = query_outputs(self.module, self._pixels([s.image for s in batch], crop))
        masks = [self._targets(s, crop, outputs[0].masks.shape[-1]) for s in batch]
        labels = [to_device(s.instances.labels[_cells(s)], self.device) for s in batch]
        return matched_losses(self.module, outputs, masks, labels)

    def _targets(self, sample: Sample, crop: int, side: int) -> Tensor:
        """(N, side, side) masks of the cells, 0 or 1, of a sample that is padded to `crop`."""
        masks = sample.instances.masks
        assert masks is not None, "this method reads full masks"
        planes = to_device(masks.select(_cells(sample)).planes(crop, crop), self.device)
        if not len(planes):
            return planes.new_zeros((0, side, side), dtype=torch.float32)
        return (F.interpolate(planes[:, None].float(), (side, side), mode="area")[:, 0] >= 0.5).float()

    @torch.no_grad()
    def predict(self, images: Sequence[Image]) -> list[Predictions]:
        return [self._predict(image) for image in images]

    def _predict(self, image: Image) -> Predictions:
        size = image.shape[0], image.shape[1]
        all_windows, together = windows(size, self.task.crop), max(1, PIXELS_AT_ONCE // self.side**2)
        parts = [all_windows[begin : begin + together] for begin in range(0, len(all_windows), together)]
        cells = [cell for part in parts for cell in self._cells(image, part)]
        masks = CropMasks.from_crops([cell.box for cell in cells], [cell.mask for cell in cells])
        scores = np.asarray([cell.score for cell in cells], np.float32)
        return Predictions(size, masks, scores, np.asarray([cell.label for cell in cells], np.int64))

    def _cells(self, image: Image, some: Sequence[Window]) -> Iterator[Cell]:
        """The cells of a few windows, each padded to a training crop, since queries know places of a crop."""
        crop = self.task.crop
        pixels = self._pixels([image[w.top : w.bottom, w.left : w.right] for w in some], crop)
        (last,) = query_outputs(self.module, pixels, last_only=True)
        chances, labels = last.classes.softmax(dim=-1)[..., :-1].max(dim=-1)
        for window, chance, label, logits in zip(some, chances, labels, last.masks, strict=True):
            likely = torch.nonzero(chance >= self.task.minimum_score).flatten()
            if len(likely):
                drawn = F.interpolate(logits[likely][None], (crop, crop), mode="bilinear", align_corners=False)[0]
                drawn = drawn[:, : window.bottom - window.top, : window.right - window.left]
                yield from cells_of(window, chance[likely], label[likely], drawn, self.task.minimum_score)

    def _pixels(self, images: Sequence[Image], crop: int) -> Tensor:
        """(B, 3, side, side): normalised, padded to squares of `crop` by the mean, and resized."""
        batch = torch.stack([self._normalised(image, crop) for image in images])
        if self.side != crop:
            shape = (self.side, self.side)
            batch = F.interpolate(batch, shape, mode="bilinear", align_corners=False, antialias=True)
        return batch

    def _normalised(self, image: Image, crop: int) -> Tensor:
        colour = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        pixels = to_device(colour.transpose(2, 0, 1), self.device).float()
        mean, std = (torch.tensor(values, device=self.device)[:, None, None] for values in self.pixel_statistics())
        return F.pad((pixels - mean) / std, (0, crop - image.shape[1], 0, crop - image.shape[0]))

    def pixel_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel, 0 to 255, that images are normalised with."""
        return self.task.pixel_mean, tuple(value or 1.0 for value in self.task.pixel_std)


def queries_for(task: Task, diameter: float) -> int:
    """Half as many again as there are cells on the fullest training image, or as fit into a crop side by side."""
    fitting = task.crop**2 / (math.pi / 4 * diameter**2)
    return max(FEWEST_QUERIES, math.ceil(1.5 * min(task.max_cells, fitting)))


def cells_of(window: Window, chances: Tensor, labels: Tensor, logits: Tensor, minimum: float) -> Iterator[Cell]:
    """The cells in the middle part of a window.

    Args:
        window: Of an image.
        chances: (N,) probabilities of the classes.
        labels: (N,) these classes.
        logits: (N, H, W) masks in pixels of the window.
        minimum: Score of a cell: the probability of the class times the mean probability inside the mask.
    """
    inside = logits > 0
    sure = (logits.sigmoid() * inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp(min=1)
    scores = (chances * sure).tolist()
    for mask, score, label in zip(inside.cpu().numpy(), scores, labels.tolist(), strict=True):
        # a mask without a pixel has no score
        if score >= minimum and score > 0 and window.owns(mask):
            found = extent(mask)
            assert found is not None
            x0, y0, x1, y1 = found
            box = x0 + window.left, y0 + window.top, x1 + window.left, y1 + window.top
            # a view would hold the masks of all queries
            yield Cell(box, mask[y0:y1, x0:x1].copy(), score, label)


def matched_losses(
    network: MaskFormerForInstanceSegmentation,
    outputs: Sequence[QueryOutputs],
    masks: Sequence[Tensor],
    labels: Sequence[Tensor],
) -> dict[str, Tensor]:
    """The package's losses of each layer after its own matching, weighted, and summed over the layers.

    Args:
        network: Of `build_network`.
        outputs: Of each layer of the decoder.
        masks: Of each image (N, H, W) float32, 0 or 1.
        labels: Of each image (N,) int64.
    """
    summed: dict[str, Tensor] = {}
    # the matching is done by scipy, which knows no bfloat16
    with torch.autocast(outputs[0].masks.device.type, enabled=False):
        for layer in outputs:
            found = network.criterion(layer.masks, layer.classes, list(masks), list(labels))
            for name, weight in network.weight_dict.items():
                summed[name] = summed.get(name, 0.0) + weight * found[name]
    return {name.removeprefix("loss_"): loss for name, loss in summed.items()}


def _cells(sample: Sample) -> NDArray[np.intp]:
    """Indices of what is one cell, without regions of many."""
    crowd = sample.instances.crowd
    return np.arange(len(sample.instances)) if crowd is None else np.flatnonzero(~crowd)


def build(recipe: Recipe, task: Task, options: MaskFormerOptions) -> MaskFormerModel:
    """MaskFormer on task.device, from scratch or from an earlier run.

    Raises:
        NoWeightsError: the init slot asks for weights that MaskFormer does not have here, or that do not fit.
    """
    init: Init = recipe.init.build(task)
    if init.kind in ("imagenet", "coco"):
        raise NoWeightsError(f"maskformer has no {init.kind} weights; type --init scratch, or --init checkpoint:FILE")
    start = init.kind == "checkpoint" and init.path is not None
    queries = read_weights(str(init.path)).get(QUERIES) if start else None
    model = MaskFormerModel(task, options, None if queries is None else len(queries))
    if start and not init.restored:
        loaded = load_initial(model.module, init, task.classes, CLASS_HEADS, new=(LOSS_WEIGHTS,))
        mean, std = model.pixel_statistics()
        model.loaded = replace(loaded, pixel_mean=mean, pixel_std=std)
    model.module.to(task.device)
    return model
