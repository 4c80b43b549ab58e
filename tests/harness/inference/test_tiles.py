"""Prediction tile by tile: every cell once and whole, whatever the tiles are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from harness.contract import Predictions
from harness.data.windows import WholeImage
from harness.inference.grid import Grid
from harness.inference.tile_store import TileFolder
from harness.inference.tiles import SAME_CELL, predict_in_tiles, shared_part
from harness.masks.crops import CropMasks

LARGEST = 40
GRID = Grid.of(LARGEST, tile=256)


def scene(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Ellipses that do not touch, of up to LARGEST pixels, each with a grey value of its own."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width), np.uint8)
    y, x = np.mgrid[-20:20, -20:20]
    for top in range(0, height - 44, 44):
        for left in range(0, width - 44, 44):
            a, b = rng.uniform(6, 19, 2)
            inside = (x / a) ** 2 + (y / b) ** 2 < 1
            dy, dx = rng.integers(0, 4, 2)
            image[top + dy : top + dy + 40, left + dx : left + dx + 40][inside] = rng.integers(60, 250)
    return image


def blobs(image: NDArray[np.uint8]) -> Predictions:
    """Every connected bright area is a cell; its score is its grey value."""
    labels, _ = ndimage.label(image > 0)
    masks, values = CropMasks.from_label_image(labels)
    scores = ndimage.maximum(image, labels, values) / 255 if len(values) else np.zeros(0)
    return Predictions(
        (image.shape[0], image.shape[1]), masks, np.asarray(scores, np.float32), np.zeros(len(masks), np.int64)
    )


def cells(found: Predictions) -> list[tuple[tuple[int, ...], bytes, float]]:
    """What is found, in an order of its own."""
    entries = zip(found.masks.boxes.tolist(), found.masks, found.scores.tolist(), strict=True)
    return sorted((tuple(box), crop.tobytes(), score) for box, crop, score in entries)


@pytest.mark.parametrize("size", [(700, 900), (1, 300), (64, 64), (257, 129), (513, 512)])
def test_tiles_give_what_the_whole_image_gives(size: tuple[int, int]) -> None:
    image = scene(*size)
    tiled = predict_in_tiles(WholeImage(image), blobs, GRID)
    assert cells(tiled.found) == cells(blobs(image))
    assert tiled.notes == {}


def test_tiles_overlap_by_at_least_the_largest_cell() -> None:
    for largest in (0, 1, 40, 64, 200, 700):
        grid = Grid.of(largest)
        assert 2 * grid.margin >= max(largest, 1)
        assert grid.core % 64 == grid.margin % 64 == 0
        assert grid.core >= 64
    assert Grid.of(40, 1024).core + 2 * Grid.of(40, 1024).margin <= 1024


def test_a_cell_whose_tiles_disagree_is_found_once() -> None:
    """Each tile shifts what it sees a little, so that both or neither may hold the centre."""
    image = scene(700, 900, seed=3)
    rng = np.random.default_rng(0)

    def unsteady(tile: NDArray[np.uint8]) -> Predictions:
        found = blobs(tile)
        boxes = found.masks.boxes.copy()
        shift = rng.integers(-2, 3, (len(boxes), 2))
        height, width = tile.shape
        shift[:, 0] = np.clip(shift[:, 0], -boxes[:, 0], width - boxes[:, 2])
        shift[:, 1] = np.clip(shift[:, 1], -boxes[:, 1], height - boxes[:, 3])
        boxes += np.tile(shift, 2).astype(np.int32)
        masks = CropMasks(boxes, found.masks.pixels, found.masks.offsets)
        return Predictions(found.size, masks, found.scores, found.labels)

    tiled = predict_in_tiles(WholeImage(image), unsteady, GRID).found
    assert len(tiled) == len(blobs(image))
    near = [(i, j) for i in range(len(tiled)) for j in range(i)]
    assert not any(shared_part(tiled.masks, i, j) >= SAME_CELL for i, j in near)


def test_too_little_memory_makes_tiles_smaller() -> None:
    image = scene(700, 900)
    seen = []

    def poor(tile: NDArray[np.uint8]) -> Predictions:
        seen.append(tile.size)
        if tile.size > 200 * 200:
            raise MemoryError("cannot allocate memory")
        return blobs(tile)

    tiled = predict_in_tiles(WholeImage(image), poor, Grid.of(LARGEST, tile=640))
    assert cells(tiled.found) == cells(blobs(image))
    assert any("not enough memory" in note for note in tiled.notes)
    assert sum(size > 200 * 200 for size in seen) <= 4

    def hopeless(tile: NDArray[np.uint8]) -> Predictions:
        raise MemoryError

    with pytest.raises(MemoryError, match="smallest tile"):
        predict_in_tiles(WholeImage(image), hopeless, GRID)


def test_a_full_tile_is_divided() -> None:
    image = scene(400, 400)
    tiled = predict_in_tiles(WholeImage(image), blobs, Grid.of(LARGEST, 1024), is_full=lambda found: len(found) > 30)
    assert cells(tiled.found) == cells(blobs(image))
    assert any("more cells on a tile" in note for note in tiled.notes)


def test_cells_larger_than_the_margin_are_told() -> None:
    image = np.zeros((300, 900), np.uint8)
    image[100:120, 20:880] = 200
    tiled = predict_in_tiles(WholeImage(image), blobs, GRID)
    assert any("larger than any of the training images" in note for note in tiled.notes)


def test_finished_tiles_stay_when_the_work_is_interrupted(tmp_path: Path) -> None:
    image = scene(700, 900)
    calls = []

    def counted(tile: NDArray[np.uint8]) -> Predictions:
        calls.append(tile.shape)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return blobs(tile)

    with pytest.raises(KeyboardInterrupt):
        predict_in_tiles(WholeImage(image), counted, GRID, store=TileFolder(tmp_path / "x", work="this"))
    tiles = len(GRID.cores((700, 900)))
    assert tiles > 8
    done: list[tuple[int, int]] = []
    again = predict_in_tiles(
        WholeImage(image),
        counted,
        GRID,
        store=TileFolder(tmp_path / "x", work="this"),
        each=lambda number, total: done.append((number, total)),
    )
    assert len(calls) == 8 + tiles - 7
    assert done[-1] == (tiles, tiles)
    assert cells(again.found) == cells(blobs(image))


def test_tiles_of_other_work_and_damaged_tiles_are_not_used(tmp_path: Path) -> None:
    image = scene(200, 300)
    core = GRID.cores((200, 300))[0]
    TileFolder(tmp_path / "x", work="this").save(core, blobs(image))
    same = TileFolder(tmp_path / "x", work="this")
    found = same.load(core, (200, 300))
    assert found is not None
    assert cells(found) == cells(blobs(image))
    next((tmp_path / "x").glob("*.npz")).write_bytes(b"PK torn")
    assert same.load(core, (200, 300)) is None
    same.save(core, blobs(image))
    assert TileFolder(tmp_path / "x", work="another").load(core, (200, 300)) is None
