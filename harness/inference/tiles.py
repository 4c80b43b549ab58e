"""Predicts an image tile by tile, so that its size does not decide the memory.

The image is divided into cores. A tile is a core with a margin on each side, at least half as wide as the largest cell
of the training images, so that tiles overlap by at least that cell. A cell is taken from the tile whose core holds the
centre of its box. Two tiles may put the centre of one cell on either side of a seam: cells near a seam are taken from
both, and one of two that overlap is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.contract import Predictions
from harness.data.windows import WindowedImage
from harness.inference.grid import SEAM, SMALLEST_CORE, Box, Grid, up, with_margin
from harness.masks.crops import CropMasks
from harness.results.status import is_out_of_memory

SAME_CELL = 0.5
"""Masks of two tiles are of one cell where they share this part of the smaller one."""

Predict = Callable[[NDArray[np.uint8]], Predictions]


class TileStore(Protocol):
    """Keeps the predictions of tiles that are done."""

    def load(self, core: Box, size: tuple[int, int]) -> Predictions | None: ...

    def save(self, core: Box, found: Predictions) -> None: ...


class NoStore:
    """Keeps nothing."""

    def load(self, core: Box, size: tuple[int, int]) -> Predictions | None:
        return None

    def save(self, core: Box, found: Predictions) -> None:
        return None


@dataclass
class TiledPrediction:
    """found: in pixels of the image. tiles: how many. notes: what had to be done, and to how many tiles."""

    found: Predictions
    tiles: int
    notes: dict[str, int] = field(default_factory=dict)


def predict_in_tiles(
    image: WindowedImage,
    predict: Predict,
    grid: Grid,
    *,
    is_full: Callable[[Predictions], bool] = lambda found: False,
    store: TileStore | None = None,
    each: Callable[[int, int], None] = lambda done, total: None,
) -> TiledPrediction:
    """Predict an image of any size.

    Args:
        image: gives its pixels by window.
        predict: from the pixels of a tile to what is found on it.
        grid: how the image is divided.
        is_full: whether predictions of a tile reach the number that the network can give; it is then divided.
        store: of finished tiles, so that interrupted work can go on.
        each: called after each tile with the number of tiles done and that of all.

    Raises:
        MemoryError: the memory does not suffice for the smallest tile.
    """
    work = _Work(image, predict, grid.margin, is_full)
    kept = store or NoStore()
    cores = grid.cores(image.size)
    parts: list[Predictions] = []
    owners: list[NDArray[np.int64]] = []
    for number, core in enumerate(cores):
        found = kept.load(core, image.size)
        if found is None:
            found = work.predict_core(core)
            kept.save(core, found)
        parts.append(found)
        owners.append(np.full(len(found), number, np.int64))
        each(number + 1, len(cores))
    together = concatenate(parts, image.size)
    merged = merge_at_seams(together, np.concatenate(owners), cores)
    return TiledPrediction(merged, len(cores), work.notes)


class _Work:
    """Predicts one core after the other, and remembers how small tiles have to be."""

    def __init__(
        self, image: WindowedImage, predict: Predict, margin: int, is_full: Callable[[Predictions], bool]
    ) -> None:
        self._image, self._predict, self._margin, self._is_full = image, predict, margin, is_full
        self._largest = math.inf
        self.notes: dict[str, int] = {}

    def predict_core(self, core: Box) -> Predictions:
        """What lies in a core, in pixels of the image."""
        top, left, bottom, right = core
        side = max(bottom - top, right - left)
        if side > self._largest:
            return self._predict_quarters(core)
        tile = with_margin(core, self._margin, self._image.size)
        found = self._predict_tile(tile, is_smallest=side <= SMALLEST_CORE)
        if found is None:
            _free_memory()
            self._note("not enough memory for a tile: smaller tiles from there on")
            self._largest = side - 1
            return self._predict_quarters(core)
        if self._is_full(found) and side > SMALLEST_CORE:
            self._note("more cells on a tile than the network can give: divided into smaller ones")
            return self._predict_quarters(core)
        inside = _of_core(_moved(found, *tile[:2], self._image.size), core)
        if _cut_off(inside, tile, self._image.size):
            self._note("cells larger than any of the training images reach the edge of their tile and may be cut off")
        return inside

    def _predict_tile(self, tile: Box, is_smallest: bool) -> Predictions | None:
        """In pixels of the tile; None where the memory does not suffice. Raises MemoryError for the smallest."""
        try:
            return self._predict(self._image.read(*tile))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if is_smallest:
                raise MemoryError("the memory does not suffice for the smallest tile") from error
        # the error holds what the network had computed: it is gone here, so that the memory can be freed
        return None

    def _predict_quarters(self, core: Box) -> Predictions:
        parts = list(_quarters(core))
        found = [self.predict_core(part) for part in parts]
        owner = np.repeat(np.arange(len(parts)), [len(one) for one in found])
        return merge_at_seams(concatenate(found, self._image.size), owner, parts)

    def _note(self, text: str) -> None:
        self.notes[text] = self.notes.get(text, 0) + 1


def concatenate(parts: list[Predictions], size: tuple[int, int]) -> Predictions:
    """Predictions of one image, one after the other."""
    if not parts:
        return Predictions(size, CropMasks.empty(), np.zeros(0, np.float32), np.zeros(0, np.int64))
    return Predictions(
        size,
        CropMasks.concatenate([part.masks for part in parts]),
        np.concatenate([part.scores for part in parts]).astype(np.float32),
        np.concatenate([part.labels for part in parts]).astype(np.int64),
    )


def merge_at_seams(found: Predictions, owner: NDArray[np.int64], cores: list[Box]) -> Predictions:
    """Drop the second of two masks that different tiles have found of one cell.

    Of two masks of one label that share at least SAME_CELL of the smaller one, that one stays which lies deeper in its
    own core.

    Args:
        found: of all tiles, in pixels of the image.
        owner: (N,) index of the core that each was found for.
        cores: all cores.
    """
    from scipy.spatial import cKDTree

    centres = _centres(found.masks)
    boxes = np.asarray(cores, np.float64).reshape(-1, 4)[owner]
    depth = np.minimum(centres - boxes[:, :2], boxes[:, 2:] - centres).min(axis=1, initial=np.inf)
    near = np.flatnonzero(depth < 3 * SEAM)
    if len(near) < 2:
        return found
    pairs = cKDTree(centres[near]).query_pairs(2 * SEAM, output_type="ndarray")
    dropped = np.zeros(len(found), np.bool_)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    for i, j in near[pairs].tolist():
        if owner[i] == owner[j] or found.labels[i] != found.labels[j] or dropped[i] or dropped[j]:
            continue
        if shared_part(found.masks, i, j) >= SAME_CELL:
            keep_first = (depth[i], found.scores[i], -i) >= (depth[j], found.scores[j], -j)
            dropped[j if keep_first else i] = True
    kept = np.flatnonzero(~dropped)
    return Predictions(found.size, found.masks.select(kept), found.scores[kept], found.labels[kept])


def shared_part(masks: CropMasks, i: int, j: int) -> float:
    """The pixels that two masks share, as a part of the smaller one."""
    a, b = masks.boxes[i].tolist(), masks.boxes[j].tolist()
    x0, y0, x1, y1 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    if x0 >= x1 or y0 >= y1:
        return 0.0
    first, second = masks.crop(i), masks.crop(j)
    rows, columns = (slice(y0 - a[1], y1 - a[1]), slice(x0 - a[0], x1 - a[0]))
    both = first[rows, columns] & second[y0 - b[1] : y1 - b[1], x0 - b[0] : x1 - b[0]]
    return int(both.sum()) / min(int(first.sum()), int(second.sum()))


def _quarters(core: Box) -> Iterator[Box]:
    """Up to four parts, divided at multiples of ALIGN."""
    top, left, bottom, right = core
    rows, columns = _halves(top, bottom), _halves(left, right)
    return ((y0, x0, y1, x1) for y0, y1 in rows for x0, x1 in columns)


def _halves(low: int, high: int) -> list[tuple[int, int]]:
    middle = low + up((high - low) / 2)
    return [(low, middle), (middle, high)] if low < middle < high else [(low, high)]


def _moved(found: Predictions, top: int, left: int, size: tuple[int, int]) -> Predictions:
    masks = CropMasks(
        found.masks.boxes + np.asarray([left, top, left, top], np.int32), found.masks.pixels, found.masks.offsets
    )
    return Predictions(size, masks, found.scores, found.labels)


def _of_core(found: Predictions, core: Box) -> Predictions:
    """Those whose centre lies in the core, or less than SEAM outside it."""
    centres = _centres(found.masks)
    low, high = np.asarray(core[:2]) - SEAM, np.asarray(core[2:]) + SEAM
    kept = np.flatnonzero(((centres >= low) & (centres < high)).all(axis=1))
    return Predictions(found.size, found.masks.select(kept), found.scores[kept], found.labels[kept])


def _centres(masks: CropMasks) -> NDArray[np.float64]:
    """(N, 2) y x of the centres of boxes."""
    boxes = masks.boxes.astype(np.float64)
    return np.stack([boxes[:, 1] + boxes[:, 3], boxes[:, 0] + boxes[:, 2]], axis=1) / 2


def _cut_off(found: Predictions, tile: Box, size: tuple[int, int]) -> bool:
    """Whether a mask touches an edge of the tile that is not one of the image."""
    y0, x0, y1, x1 = tile
    boxes = found.masks.boxes
    touches = (
        ((boxes[:, 0] <= x0) & (x0 > 0))
        | ((boxes[:, 1] <= y0) & (y0 > 0))
        | ((boxes[:, 2] >= x1) & (x1 < size[1]))
        | ((boxes[:, 3] >= y1) & (y1 < size[0]))
    )
    return bool(touches.any())


def _free_memory() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
