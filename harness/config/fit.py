"""Fits a preset to the sizes of a data set's training images and to the memory of the machine.

Each rule changes a few settings and says why in one sentence. No rule knows a data set by name.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.config.anchors import RATIOS, SCALES, STRIDES, anchor_recall
from harness.config.preset import Preset, with_settings
from harness.config.tiling import WHOLE_PIXELS
from harness.errors import HarnessError

BEST_SIDE = 20.0
"""Side of the median cell's box, in pixels of the network's input (results/fits-the-data)."""
KEPT = (0.7, 1.4)
"""Images whose best scale lies between these keep their size: resizing gains nothing there."""
MAX_SCALE = 4.0
"""A cell of five pixels becomes one of twenty. Beyond that an enlarged image shows no more."""
SMALLEST_SIDE = 4.0
"""The 5th percentile of cells is not shrunk below it: the finest map of the pyramid has a bin each four pixels."""
MAX_ENLARGED_PIXELS = 2048**2
"""Images are not enlarged beyond it, so that predicting a whole one fits into memory."""
LEAST_OF_SIZE = 5
"""Images with cells that a size needs for a scale of its own: fewer say little of the next one."""
SMALLEST_IMAGE = 64
"""Images are not shrunk so far that their short side is less."""
MOST_SAID = 6
"""Sizes of images that a reason lists."""
CROP_STEP = 32
"""Crops of the network are a multiple of the stride of its coarsest map."""
CELLS_IN_CROP = 1.5
"""A crop's side is at least so many times that of the 95th percentile of cells, so that most lie in it whole."""
BETTER_RECALL = 0.02
"""Other anchors than the preset's must reach so many more of the cells."""
ANCHORS_OF = "anchors of"
"""What the sentence on anchors begins with."""
ROIS_PER_CELL = 8
"""A quarter of the sampled proposals may be cells: room for two on each cell of a crop."""
PROPOSALS_PER_CELL = 16
MEMORY_OF_BATCH = {"cpu": 4 * 2**30, "mps": 4 * 2**30, "cuda": 24 * 2**30}
"""Bytes that the batch of the preset takes with room to spare."""

BYTES_OF_PIXEL = 100
"""Memory that the smallest networks need to predict an image, for each of its pixels as they see it: `mask_rcnn` of
`auto` on a CPU took 104 between images of 512 x 512 and 1536 x 1536."""


@dataclass(frozen=True)
class ImagesOfSize:
    """Training images of one height and width. All sizes in pixels.

    images, cells: how many. sides: (M,) float64, median side of the cells of each image that has some.
    """

    size: tuple[int, int]
    images: int
    cells: int
    sides: NDArray[np.float64]


@dataclass(frozen=True)
class Fingerprint:
    """Sizes of the training images of a data set, in pixels.

    boxes: (N, 2) float64, width and height of the boxes of N >= 1 cells, drawn evenly from all.
    smallest_image: shortest side of all images. largest_image: height and width, as in Dataset.max_size.
    cells_per_pixel: cells of all training images over their area.
    by_size: the training images by their size; box_sizes: (N, 2) height and width of the image of each box. Both empty
        where sizes of images are not looked at.
    """

    boxes: NDArray[np.float64]
    smallest_image: int
    largest_image: tuple[int, int]
    cells_per_pixel: float
    by_size: tuple[ImagesOfSize, ...] = ()
    box_sizes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))

    def resized(self, scale: float, by_size: Mapping[tuple[int, int], float]) -> Fingerprint:
        """In pixels of the network, which sees images resized. by_size: factors in place of `scale` for some sizes."""
        factors = np.full(len(self.boxes), scale)
        for size, factor in by_size.items():
            factors[(self.box_sizes == size).all(axis=1)] = factor
        largest = self.largest_image
        shown = [(largest[0] * scale, largest[1] * scale), *((h * s, w * s) for (h, w), s in by_size.items())]
        density = self.cells_per_pixel / scale**2
        if by_size:
            areas = [g.images * math.prod(g.size) * by_size.get(g.size, scale) ** 2 for g in self.by_size]
            density = sum(g.cells for g in self.by_size) / sum(areas)
        most = (math.ceil(max(height for height, _ in shown)), math.ceil(max(width for _, width in shown)))
        return replace(
            self, boxes=self.boxes * factors[:, None], largest_image=most, cells_per_pixel=density, by_size=()
        )

    def side(self, percentile: float) -> float:
        """Percentile of the cells' size, which is the root of width times height of the box."""
        return float(np.percentile(np.sqrt(self.boxes.prod(axis=1)), percentile))


Changes = tuple[dict[str, Any], str]
"""New settings by "table.key", and the reason; empty where nothing is said."""


def fitted(preset: Preset, data: Fingerprint, device: str, memory: int | None, kept: Collection[str] = ()) -> Preset:
    """The preset with settings that follow from the data. Its `fit` says what was chosen and why.

    Args:
        preset: what every data set starts from.
        data: sizes of the training images.
        device: "cpu", "mps" or "cuda[:N]".
        memory: bytes of the device; None where that is not known.
        kept: settings that stay as they are in the preset, as "model.scale"; the other rules follow from them.

    Raises:
        HarnessError: the memory is too small to predict the largest image whole, and no tiles are made of it.
    """
    # a scale that was typed is for all images
    by_size = () if "model.scale" in kept else (_scale_by_size,)
    rules: tuple[Callable[[Preset, Fingerprint], Changes], ...] = (
        _scale,
        *by_size,
        _crop,
        lambda preset, data: _batch(preset, device.partition(":")[0], memory),
        _anchors,
        _proposals,
    )
    said = []
    for rule in rules:
        changes, reason = rule(preset, data)
        stay = [key for key in changes if key in kept]
        changed = {key: value for key, value in changes.items() if key not in kept}
        preset = with_settings(preset, changed)
        said += [reason] if reason and (changed or not stay) else []
        said += [as_it_was_set(preset, key) for key in stay]
    if memory is not None:
        _check_memory(preset, data, memory)
    return preset.model_copy(update={"fit": tuple(said)})


def as_it_was_set(preset: Preset, key: str) -> str:
    """What `fit` says of a setting that no rule may change."""
    return f"{key} is {_value(preset, key)}, as it was set"


def _check_memory(preset: Preset, data: Fingerprint, memory: int) -> None:
    height, width = data.resized(preset.scale, preset.scale_by_size).largest_image
    needed = BYTES_OF_PIXEL * height * width
    # a larger one is predicted in tiles
    if needed > memory and height * width <= WHOLE_PIXELS:
        raise HarnessError(
            f"the largest image is {height} x {width} pixels for the network, which takes at least "
            f"{needed / 2**30:.1f} GiB to predict, and there are {memory / 2**30:.1f}: cut large images into parts, "
            f"or shrink all, as in --set model.scale={0.9 * preset.scale * math.sqrt(memory / needed):.2g}"
        )


def _value(preset: Preset, key: str) -> Any:
    table, _, name = key.partition(".")
    return preset.model_dump()[table].get(name)


def _scale(preset: Preset, data: Fingerprint) -> Changes:
    side = data.side(50)
    cells = f"cells are {side:.3g} pixels (median)"
    best = BEST_SIDE / side
    if KEPT[0] <= best <= KEPT[1]:
        near = f"near the {BEST_SIDE:g} that networks learn well on"
        return {"model.scale": 1.0}, f"{cells}, {near}, so images keep their size"
    scale = _within_limits(best, data.side(5), data.smallest_image, data.largest_image)
    if scale == 1:
        return {"model.scale": 1.0}, f"{cells}, but images of their size are not resized"
    return {"model.scale": scale}, f"{cells}, so images are {_verb(scale)} to {scale:g} of their size"


def _within_limits(best: float, small: float, shortest: int, largest: tuple[int, int]) -> float:
    """A scale near the best one that leaves small cells and small images visible and large images in memory.

    small: side of small cells; shortest: side of the images; largest: height and width; all in pixels of the images.
    """
    if best < 1:
        least = max(SMALLEST_SIDE / small, SMALLEST_IMAGE / shortest)
        scale = max(best, min(1.0, least))
    else:
        most = math.sqrt(MAX_ENLARGED_PIXELS / math.prod(largest))
        scale = min(best, MAX_SCALE, max(1.0, most))
    return float(f"{scale:.2g}")


def _verb(scale: float) -> str:
    return "shrunk" if scale < 1 else "enlarged"


def _scale_by_size(preset: Preset, data: Fingerprint) -> Changes:
    """Other scales for images of some sizes: one microscope and lens make images of one size.

    A size of images has a scale of its own where its cells are of another size than those of all images, and are so in
    three quarters of its images.
    """
    found, said, usual = {}, [], data.side(50)
    for group in data.by_size if len(data.by_size) > 1 else ():
        if len(group.sides) < LEAST_OF_SIZE:
            continue
        side, boxes = float(np.median(group.sides)), data.boxes[(data.box_sizes == group.size).all(axis=1)]
        small = float(np.percentile(np.sqrt(boxes.prod(axis=1)), 5)) if len(boxes) else float(group.sides.min())
        best = BEST_SIDE / side
        scale = 1.0 if KEPT[0] <= best <= KEPT[1] else _within_limits(best, small, min(group.size), group.size)
        other = np.percentile(group.sides, 25) > usual or np.percentile(group.sides, 75) < usual
        if other and not KEPT[0] <= scale / preset.scale <= KEPT[1]:
            height, width = group.size
            found[f"{height}x{width}"] = scale
            how = "keep their size" if scale == 1 else f"are {_verb(scale)} to {scale:g}"
            said.append(f"those of {height} x {width} {how} (cells of {side:.3g})")
    if not found:
        return {}, ""
    more = [f"and {len(said) - MOST_SAID} more sizes"] if len(said) > MOST_SAID else []
    listed = ", ".join([*said[:MOST_SAID], *more])
    return {"model.scale_by_size": found}, f"cells are of other sizes on images of other sizes: {listed}"


def _crop(preset: Preset, data: Fingerprint) -> Changes:
    scale, usual, batch = preset.scale, preset.training.crop, preset.training.batch
    shown = data.resized(scale, preset.scale_by_size)
    large = shown.side(95)
    whole, cells = _up(max(shown.largest_image)), _up(CELLS_IN_CROP * large)
    side = min(max(usual, min(cells, 2 * usual)), whole)
    # as many pixels a step as the preset has, at least one crop and at most twice as many crops
    fewer = max(1, round(batch * min(2.0, (usual / side) ** 2)))
    resized = scale != 1 or preset.scale_by_size
    said = f"crops of {round(side / scale)} pixels" + (f", {side} for the network" if resized else "")
    if side > usual:
        said += f", since large cells are {large:.3g} pixels" + (" there" if resized else "") + " (95th percentile)"
    elif side < usual:
        said += ", as large as the largest image"
    if fewer != batch:
        said += f", {fewer} in a step"
    return {"training.crop": max(1, round(side / scale)), "training.batch": fewer}, said


def _up(pixels: float) -> int:
    """The next multiple of CROP_STEP."""
    return max(1, math.ceil(pixels / CROP_STEP)) * CROP_STEP


def _batch(preset: Preset, device: str, memory: int | None) -> Changes:
    batch = preset.training.batch
    if memory is None or memory >= MEMORY_OF_BATCH[device]:
        return {}, ""
    less = max(1, int(batch * memory / MEMORY_OF_BATCH[device]))
    if less == batch:
        return {}, ""
    return {"training.batch": less}, f"a memory of {memory / 2**30:.0f} GiB has room for {less} crops a step"


def _anchors(preset: Preset, data: Fingerprint) -> Changes:
    boxes = data.resized(preset.scale, preset.scale_by_size).boxes
    own = (float(preset.model.get("anchor_scale", 8.0)), tuple(preset.model.get("anchor_ratios", RATIOS[0])))
    recalls = {choice: anchor_recall(boxes, *choice) for choice in (own, *itertools.product(SCALES, RATIOS))}
    enough = [choice for choice, recall in recalls.items() if recall >= max(recalls.values()) - BETTER_RECALL]
    # of those that reach about as many, the one most like the preset's
    scale, ratios = min(enough, key=lambda choice: (choice[1] != own[1], abs(math.log(choice[0] / own[0]))))
    small, large = STRIDES[0] * scale, STRIDES[-1] * scale
    changes: dict[str, Any] = {"model.anchor_scale": scale}
    longest = ""
    if ratios != own[1]:
        changes["model.anchor_ratios"] = list(ratios)
        longest = f", up to {max(ratios):g} times as long as wide,"
    reach = f"reach {recalls[scale, ratios]:.0%} of the cells (IoU 0.5)"
    return changes, f"{ANCHORS_OF} {small:g} to {large:g} pixels of the network{longest} {reach}"


def _proposals(preset: Preset, data: Fingerprint) -> Changes:
    shown = data.resized(preset.scale, preset.scale_by_size)
    cells = shown.cells_per_pixel * (preset.training.crop * preset.scale) ** 2
    changes, table = {}, preset.model
    for name, per_cell in (("rois_per_image", ROIS_PER_CELL), ("proposals", PROPOSALS_PER_CELL)):
        usual = int(table.get(name, 0))
        wanted = min(4 * usual, _up(per_cell * cells))
        if usual and wanted > usual:
            changes[f"model.{name}"] = wanted
    if not changes:
        return {}, ""
    said = " and ".join(f"{value} {key.partition('.')[2]}" for key, value in changes.items())
    return changes, f"a crop holds {cells:.0f} cells, so there are {said}"
