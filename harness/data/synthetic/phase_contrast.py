"""A drawn phase-contrast image: cells with rim and halo, neurites, debris, uneven light, noise."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.data.synthetic.cell_shapes import CellType, Shape
from harness.masks.crops import CropMasks, extent

MARGIN = 7
"""Pixels around a cell that its halo reaches."""
GREY = 128.0
TRIES = 6
"""How often another place is looked for before a cell is given up."""
SHIFT = 4
"""Binary digits after the point in which outlines are given to the rasteriser."""

Image = NDArray[np.float32]


def draw(
    cell_type: CellType, size: tuple[int, int], density: float, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], CropMasks]:
    """An (H, W) image full of cells of one type, and their masks: exactly the filled outlines, inside the image."""
    height, width = size
    patches = height * width / 256**2
    image = GREY + _light(size, rng) + _noise(size, rng)
    wanted = max(1, round(density * cell_type.count * patches * rng.lognormal(0, 0.25)))
    shapes, centres, masks = _place(cell_type, size, wanted, rng)
    fine_texture = cv2.GaussianBlur(rng.normal(0, 1, size).astype(np.float32), (0, 0), 1.1) * 3.5
    image += _neurites(cell_type, size, shapes, centres, rng)
    for box, crop in zip(masks.boxes.tolist(), masks, strict=True):
        _paint_cell(image, cell_type, box, crop, fine_texture, rng)
    _scatter_debris(image, rng.poisson(density * cell_type.debris * patches), rng)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8), masks


def _light(size: tuple[int, int], rng: np.random.Generator) -> Image:
    coarse = rng.normal(0, 1.5, (4, 4)).astype(np.float32)
    return cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)


def _noise(size: tuple[int, int], rng: np.random.Generator) -> Image:
    return cv2.GaussianBlur(rng.normal(0, 4.5, size).astype(np.float32), (0, 0), 0.7)


def _place(
    cell_type: CellType, size: tuple[int, int], wanted: int, rng: np.random.Generator
) -> tuple[list[Shape], list[NDArray[np.float64]], CropMasks]:
    """Shapes, centres and masks of the cells that found room. One that would hide too much of others is not placed."""
    taken = np.zeros(size, np.uint8)
    shapes: list[Shape] = []
    centres: list[NDArray[np.float64]] = []
    boxes, crops = [], []
    for _ in range(wanted):
        shape = cell_type.shape(rng)
        allowed = rng.choice([0.0, cell_type.overlap])
        for _ in range(TRIES):
            centre = _somewhere(cell_type, shape, centres, size, rng)
            filled = _fill(shape, centre, size)
            if filled is None:
                continue
            box, crop = filled
            below = taken[box[1] : box[3], box[0] : box[2]]
            if np.count_nonzero(crop & below) <= allowed * np.count_nonzero(crop):
                below |= crop
                shapes.append(shape)
                centres.append(centre)
                boxes.append(box)
                crops.append(crop)
                break
    return shapes, centres, CropMasks.from_crops(boxes, crops)


def _somewhere(
    cell_type: CellType,
    shape: Shape,
    centres: list[NDArray[np.float64]],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """A place for a cell: beside an earlier one, or anywhere."""
    if not centres or rng.random() >= cell_type.clustered:
        return rng.uniform((0, 0), (size[1], size[0]))
    reach = math.sqrt(np.ptp(shape.solids[0], axis=0).prod())
    turn = rng.uniform(0, 2 * math.pi)
    away = rng.uniform(0.8, 1.3) * reach
    return centres[rng.integers(len(centres))] + (away * math.cos(turn), away * math.sin(turn))


def _fill(
    shape: Shape, centre: NDArray[np.float64], size: tuple[int, int]
) -> tuple[tuple[int, int, int, int], NDArray[np.uint8]] | None:
    """The tight box and crop of a shape put at `centre`; None where hardly any of it is inside the image."""
    points = np.concatenate(shape.solids) + centre
    x0, y0 = np.clip(np.floor(points.min(axis=0)) - 1, 0, None).astype(int)
    x1, y1 = np.clip(np.ceil(points.max(axis=0)) + 2, None, (size[1], size[0])).astype(int)
    if x1 - x0 < 5 or y1 - y0 < 5:
        return None
    crop = np.zeros((y1 - y0, x1 - x0), np.uint8)
    for polygons, value in ((shape.solids, 1), (shape.holes, 0)):
        for polygon in polygons:
            fixed = np.round((polygon + centre - (x0, y0)) * 2**SHIFT).astype(np.int32)
            cv2.fillPoly(crop, [fixed], value, shift=SHIFT)
    inner = extent(crop)
    if inner is None or np.count_nonzero(crop) < 50:
        return None
    ix0, iy0, ix1, iy1 = inner
    return (x0 + ix0, y0 + iy0, x0 + ix1, y0 + iy1), crop[iy0:iy1, ix0:ix1]


def _paint_cell(
    image: Image, cell_type: CellType, box: list[int], crop: NDArray[np.uint8], texture: Image, rng: np.random.Generator
) -> None:
    """Add a cell to the image: dark rim inside its outline, bright halo outside, grainy inside. See-through."""
    x0, y0, x1, y1 = box
    m = MARGIN
    plane = cv2.copyMakeBorder(crop, m, m, m, m, cv2.BORDER_CONSTANT).astype(np.float32)
    soft = cv2.GaussianBlur(plane, (0, 0), 0.8)
    wide = cv2.GaussianBlur(plane, (0, 0), 1.6)
    strength = rng.uniform(0.75, 1.25)
    rim = soft * (1 - wide) * 2
    halo = (1 - soft) * wide * 2
    grain = np.zeros_like(plane)
    top, left = max(0, y0 - m), max(0, x0 - m)
    bottom, right = min(image.shape[0], y1 + m), min(image.shape[1], x1 + m)
    seen = slice(top, bottom), slice(left, right)
    here = slice(top - y0 + m, bottom - y0 + m), slice(left - x0 + m, right - x0 + m)
    grain[here] = texture[seen]
    inside = soft * (wide**2)
    fill = cell_type.fill * rng.choice([-1.0, 1.0], p=[0.75, 0.25])
    change = strength * (cell_type.halo * halo - cell_type.rim * rim) + inside * (fill + cell_type.texture * grain)
    image[seen] += change[here]


def _neurites(
    cell_type: CellType,
    size: tuple[int, int],
    shapes: list[Shape],
    centres: list[NDArray[np.float64]],
    rng: np.random.Generator,
) -> Image:
    """Thin curved lines from the tips of cells, not annotated: dark with a faint bright border."""
    lines = np.zeros(size, np.uint8)
    for shape, centre in zip(shapes, centres, strict=True):
        if not len(shape.tips):
            continue
        for tip in rng.integers(0, len(shape.tips), rng.poisson(cell_type.neurites)):
            x, y, heading = shape.tips[tip]
            steps = int(np.clip(rng.exponential(cell_type.neurite_length), 12, 400) / 4)
            turning = heading + np.cumsum(rng.normal(0, 0.09, steps)) + rng.normal(0, 0.01) * np.arange(steps)
            path = (
                centre
                + np.asarray([x, y])
                + np.cumsum(4 * np.stack([np.cos(turning), np.sin(turning)], axis=1), axis=0)
            )
            fixed = np.round(path * 2**SHIFT).astype(np.int32)
            cv2.polylines(lines, [fixed], False, int(rng.integers(90, 230)), 1, cv2.LINE_AA, SHIFT)
    narrow = cv2.GaussianBlur(lines.astype(np.float32) / 255, (0, 0), 0.6)
    return 44 * cv2.GaussianBlur(narrow, (0, 0), 1.6) - 62 * narrow


def _scatter_debris(image: Image, count: int, rng: np.random.Generator) -> None:
    """Small specks, not annotated: a bright centre in a dark ring, or the reverse."""
    height, width = image.shape
    reach = 6
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    padded = cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_CONSTANT)
    for _ in range(count):
        radius = rng.uniform(1.0, 2.3)
        distance = np.hypot(x - rng.uniform(-0.5, 0.5), y - rng.uniform(-0.5, 0.5)) / radius
        speck = 85 * np.exp(-(distance**2)) - 60 * np.exp(-(((distance - 1.5) / 0.6) ** 2))
        row, col = rng.integers(0, height), rng.integers(0, width)
        padded[row : row + 2 * reach + 1, col : col + 2 * reach + 1] += speck * rng.choice([1.0, 0.7, -0.6])
    image[:] = padded[reach:-reach, reach:-reach]
