"""Where cells lie: label planes of one or two layers, and the masks that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harness.data.painted.fields import smooth_noise
from harness.data.painted.outlines import FAMILIES, Outlines, outlines
from harness.data.painted.scene import MOST_CELLS, SIDES, Scene
from harness.masks.crops import CropMasks

SHIFT = 4
"""Binary digits after the point in which outlines are given to the rasteriser."""
LEAST_PIXELS = 9
"""Cells of which less is seen are painted over."""
LEAST_SEEN = 0.2
"""So are cells of which other cells or the image's edge leave less than this share."""

Labels = NDArray[np.int32]
"""(H, W): number of the cell that a pixel shows, from 1; 0 for none."""


@dataclass(frozen=True)
class Layer:
    """Cells of which none lies across another.

    labels: see Labels. outlined: (H, W) bool, pixels of cells that are not on the border of two cells.
    count: the highest number of a cell.
    """

    labels: Labels
    outlined: NDArray[np.bool_]
    count: int


def lay_out(scene: Scene, size: tuple[int, int], rng: np.random.Generator) -> tuple[list[Layer], CropMasks]:
    """The layers of an image of that height and width, and the masks of their cells: what is seen of each.

    A cell of the second layer lies across those of the first, and both are seen.
    """
    planes = [_sheet(scene, size, rng)] if scene.arrangement == "sheet" else _scattered(scene, size, rng)
    if not any(plane.any() for plane in planes):
        planes = [_single(scene, size, rng)]
    masks = [_masks_of(plane) for plane in planes]
    return [_layer(plane) for plane in planes], CropMasks.concatenate(masks)


def _masks_of(labels: Labels) -> CropMasks:
    """One mask for each number from 1 to the highest; each is there."""
    boxes, crops = [], []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        boxes.append((columns.start, rows.start, columns.stop, rows.stop))
        crops.append(labels[rows, columns] == number)
    return CropMasks.from_crops(boxes, crops)


def _layer(labels: Labels) -> Layer:
    border = np.zeros(labels.shape, np.bool_)
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[1:] |= labels[1:] != labels[:-1]
    return Layer(labels, (labels > 0) & ~border, int(labels.max()))


def _sides(scene: Scene, number: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return np.clip(scene.side * np.exp(rng.normal(0, scene.spread, number)), *SIDES)


def _scattered(scene: Scene, size: tuple[int, int], rng: np.random.Generator) -> list[Labels]:
    height, width = size
    wanted = round(scene.coverage * height * width / (0.6 * scene.side**2) * rng.uniform(0.7, 1.3))
    sides = _sides(scene, min(max(wanted, 1), MOST_CELLS), rng)
    # lone cells keep apart; others may touch, and then one covers a little of another
    spacing = {"lone": rng.uniform(0.5, 0.8), "clustered": rng.uniform(0.38, 0.5), "crowded": rng.uniform(0.36, 0.5)}
    centres, kept = _places(scene, sides, spacing[scene.arrangement], size, rng)
    sides = sides[kept]
    points = _shapes(scene, sides, rng) + centres[:, None]
    across = rng.random(len(sides)) < scene.overlap
    if across.any():
        # they move onto a neighbour
        points[across] += (rng.uniform(-0.6, 0.6, (across.sum(), 2)) * sides[across, None])[:, None]
    holes = rng.random(len(sides)) < scene.holes
    planes = [_drawn(points[these], holes[these], size, rng) for these in (~across, across) if these.any()]
    return planes or [np.zeros(size, np.int32)]


def _shapes(scene: Scene, sides: NDArray[np.float64], rng: np.random.Generator) -> Outlines:
    first, second = (outlines(FAMILIES[name], sides, rng) for name in scene.families)
    return np.where((rng.random(len(sides)) < 0.85)[:, None, None], first, second)


def _places(
    scene: Scene, sides: NDArray[np.float64], spacing: float, size: tuple[int, int], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(M, 2) centres x y, and the (M,) cells that found room: centres are `spacing` times both sides apart."""
    height, width = size
    number, margin = len(sides), 0.4 * scene.side
    tries = rng.uniform(-margin, (width + margin, height + margin), (3, number, 2))
    if scene.arrangement == "clustered":
        homes = rng.uniform(0, (width, height), (max(1, number // int(rng.integers(4, 20))), 2))
        reach = scene.side * math.sqrt(number / len(homes)) * rng.uniform(0.5, 0.9)
        tries = homes[rng.integers(len(homes), size=(3, number))] + rng.normal(0, reach, (3, number, 2))
    centres = np.empty((number, 2))
    kept: list[int] = []
    radii = spacing * sides
    for i in range(number):
        there, apart = centres[: len(kept)], radii[kept] + radii[i]
        for place in tries[:, i]:
            if not len(kept) or (((there - place) ** 2).sum(axis=1) >= apart**2).all():
                centres[len(kept)] = place
                kept.append(i)
                break
    return centres[: len(kept)], np.asarray(kept, np.int64)


def _drawn(points: Outlines, holes: NDArray[np.bool_], size: tuple[int, int], rng: np.random.Generator) -> Labels:
    """The cells one after the other, so that a later one covers an earlier one."""
    labels = np.zeros(size, np.int32)
    fixed = np.round((points - 0.5) * 2**SHIFT).astype(np.int32)
    middle, shrunk = points.mean(axis=1), rng.uniform(0.15, 0.4, len(points))
    for i in range(len(points)):
        cv2.fillPoly(labels, [fixed[i]], i + 1, shift=SHIFT)
        if holes[i]:
            hole = middle[i] + shrunk[i] * (points[i] - middle[i]) - 0.5
            cv2.fillPoly(labels, [np.round(hole * 2**SHIFT).astype(np.int32)], 0, shift=SHIFT)
    x, y = points[..., 0], points[..., 1]
    areas = np.abs((x * np.roll(y, -1, 1) - y * np.roll(x, -1, 1)).sum(axis=1)) / 2
    seen = np.bincount(labels.ravel(), minlength=len(points) + 1)[1:]
    return _without(labels, seen < np.maximum(LEAST_PIXELS, LEAST_SEEN * areas))


def _without(labels: Labels, gone: NDArray[np.bool_]) -> Labels:
    """The labels without those cells, and numbered from 1."""
    number = np.zeros(len(gone) + 1, np.int32)
    number[1:] = np.where(gone, 0, (~gone).cumsum())
    return number[labels]


def _sheet(scene: Scene, size: tuple[int, int], rng: np.random.Generator) -> Labels:
    """Cells that fill the image: a Voronoi diagram of jittered places, stretched and warped; some are missing."""
    height, width = size
    spacing = max(scene.side / 1.25, 5.0, math.sqrt(height * width / MOST_CELLS) * 1.1)
    turn, stretch = rng.uniform(0, np.pi), math.sqrt(rng.uniform(1, 2.2))
    axis = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    linear = axis.T @ np.diag([1 / stretch, stretch]) @ axis
    y, x = np.mgrid[:height, :width].astype(np.float32)
    warp = spacing * rng.uniform(0.05, 0.3)
    wave = spacing * rng.uniform(0.2, 0.6)
    u = (linear[0, 0] * x + linear[0, 1] * y + warp * smooth_noise(size, wave, rng)).astype(np.float32)
    v = (linear[1, 0] * x + linear[1, 1] * y + warp * smooth_noise(size, wave, rng)).astype(np.float32)
    u, v = u - u.min() + spacing, v - v.min() + spacing
    diagram = _voronoi(math.ceil(v.max() + spacing), math.ceil(u.max() + spacing), spacing, scene.spread, rng)
    warped = cv2.remap(diagram, u, v, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    labels = np.unique(warped, return_inverse=True)[1].reshape(size).astype(np.int32) + 1
    count = int(labels.max())
    missing = rng.random(count) < (rng.uniform(0, 0.4) if rng.random() < 0.5 else 0.0)
    labels = _without(labels, missing)
    if scene.gap * scene.side > 0.7:
        inside = _layer(labels).outlined.astype(np.uint8)
        labels[cv2.distanceTransform(inside, cv2.DIST_L2, 3) <= scene.gap * scene.side / 2] = 0
    seen = np.bincount(labels.ravel(), minlength=int(labels.max()) + 1)[1:]
    return _without(labels, seen < max(LEAST_PIXELS, LEAST_SEEN * spacing**2 / 2))


def _voronoi(height: int, width: int, spacing: float, spread: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """(H, W): number of the nearest of the places, which lie on a jittered grid."""
    rows, columns = np.meshgrid(np.arange(0, height, spacing), np.arange(0, width, spacing), indexing="ij")
    columns[1::2] += spacing / 2
    jitter = 0.2 + 0.5 * spread
    places = np.stack([rows, columns], axis=-1).reshape(-1, 2) + rng.uniform(-jitter, jitter, (rows.size, 2)) * spacing
    kept = places[rng.random(len(places)) >= 0.3 * spread]
    at = np.clip(np.round(kept), 0, (height - 1, width - 1)).astype(int)
    empty = np.full((height, width), 255, np.uint8)
    empty[at[:, 0], at[:, 1]] = 0
    _, nearest = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    return nearest.astype(np.float32)


def _single(scene: Scene, size: tuple[int, int], rng: np.random.Generator) -> Labels:
    """One cell in the middle, for an image that would be empty."""
    side = min(scene.side, 0.8 * min(size))
    middle = np.array([size[1] / 2, size[0] / 2])
    points = outlines(FAMILIES["oval"], np.array([max(side, SIDES[0])]), rng) + middle
    return _drawn(points, np.zeros(1, np.bool_), size, rng)
