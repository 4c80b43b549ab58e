"""Star-convex polygons: from label maps to rays, and from rays to masks without duplicates.

A polygon is a middle and distances along rays at equal angles. Ray k points cos(phi) along x and sin(phi) along y, with
phi = 2 pi k / rays (stardist/geometry/geom2d.py).
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harness.masks.crops import CropMasks

Floats = NDArray[np.float32]

SMALLEST_DISTANCE = 1e-3
"""In pixels; predicted distances may be negative."""

ON_BORDER = 1e-4
"""In pixels; a pixel's centre that is so close to the border is inside, whatever the rounding."""

RINGS, HALVES = 4, (0.25, 0.75)
"""Points between two rays, for the area of intersections: so many rings, at these fractions between the corners."""


def ray_directions(rays: int) -> tuple[Floats, Floats]:
    """(rays,) along y and along x."""
    angles = 2 * np.pi * np.arange(rays) / rays
    return np.sin(angles).astype(np.float32), np.cos(angles).astype(np.float32)


def star_distances(labels: NDArray[np.integer], rays: int, grid: int) -> Floats:
    """(h, w, rays) pixels from every grid-th place to the border of its cell; 0 outside cells.

    A ray advances by steps of one pixel, to the first whose nearest pixel is not of the cell, and goes back to about
    the pixel's edge, as in the package (stardist/lib/stardist2d_impl.h).
    """
    along_y, along_x = ray_directions(rays)
    # half a pixel along the larger axis of the ray
    back = 1 - 0.5 / np.maximum(np.abs(along_y), np.abs(along_x))
    padded = np.pad(labels, 1)
    width = padded.shape[1]
    sampled = labels[::grid, ::grid]
    rows, cols = np.nonzero(sampled)
    found = np.zeros((len(rows), rays), np.float32)
    start = (rows * grid + 1) * width + cols * grid + 1
    value = sampled[rows, cols]
    point, ray = (index.ravel() for index in np.indices(found.shape))
    flat, step = padded.ravel(), 0
    while len(point):
        step += 1
        offset = np.round(step * along_y).astype(np.int64) * width + np.round(step * along_x).astype(np.int64)
        inside = flat[start[point] + offset[ray]] == value[point]
        ended = ~inside
        found[point[ended], ray[ended]] = step - back[ray[ended]]
        point, ray = point[inside], ray[inside]
    distances = np.zeros((*sampled.shape, rays), np.float32)
    distances[rows, cols] = found
    return distances


def object_probabilities(labels: NDArray[np.integer]) -> Floats:
    """(H, W) distance to the border of the cell over the cell's largest; 0 outside cells (stardist/utils.py, edt_prob).

    The border of the image is no border of a cell.
    """
    found = np.zeros(labels.shape, np.float32)
    for i, box in enumerate(ndimage.find_objects(labels)):
        if box is None:
            continue
        grown = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in box)
        inside = labels[grown] == i + 1
        distance = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        found[grown][inside] = (distance / max(float(distance.max()), 1e-10))[inside]
    return found


def polygon_areas(distances: Floats) -> Floats:
    """(N,) areas of polygons with (N, rays) distances: the triangles between neighbouring rays."""
    angle = 2 * np.pi / distances.shape[1]
    areas: Floats = (distances * np.roll(distances, -1, axis=1)).sum(axis=1) * np.float32(math.sin(angle) / 2)
    return areas


def suppress(middles: Floats, distances: Floats, scores: Floats, threshold: float, most: int) -> NDArray[np.int64]:
    """Greedy non-maximum suppression of polygons.

    In order of score, a polygon is kept if its intersection with each one kept before, over the smaller of the two
    areas, is at most `threshold` (stardist/lib/stardist2d_impl.h). Intersections are those of the kept polygon's pixels
    with points spread evenly over the other polygon.

    Args:
        middles: (N, 2), y and x in pixels.
        distances: (N, rays) in pixels.
        scores: (N,).
        threshold: 0 to 1.
        most: polygons to keep.

    Returns:
        Indices of the kept ones, in order of score.
    """
    order = np.argsort(-scores, kind="stable")
    middles, distances = middles[order], np.maximum(distances[order], SMALLEST_DISTANCE)
    areas, reach = polygon_areas(distances), distances.max(axis=1)
    alive = np.ones(len(order), np.bool_)
    kept: list[int] = []
    for i in range(len(order)):
        if not alive[i]:
            continue
        kept.append(i)
        if len(kept) == most:
            break
        rest = np.flatnonzero(alive[i + 1 :]) + i + 1
        gap = np.abs(middles[rest] - middles[i]).max(axis=1)
        near = rest[gap < reach[i] + reach[rest]]
        if len(near):
            shared = _share_inside(middles[i], distances[i], middles[near], distances[near]) * areas[near]
            alive[near[shared > threshold * np.minimum(areas[i], areas[near])]] = False
    return order[kept]


def _share_inside(middle: Floats, distances: Floats, middles: Floats, others: Floats) -> Floats:
    """(M,) the share of each of the other polygons' area that lies inside a polygon."""
    points, weights = _spread_points(others)
    points += middles[:, :, None]
    y0, x0, mask = rasterise(middle, distances)
    row, col = np.rint(points[:, 0] - y0).astype(np.int64), np.rint(points[:, 1] - x0).astype(np.int64)
    inside = (row >= 0) & (row < mask.shape[0]) & (col >= 0) & (col < mask.shape[1])
    inside[inside] = mask[row[inside], col[inside]]
    share: Floats = (inside * weights).sum(axis=1) / weights.sum(axis=1)
    return share


def _spread_points(distances: Floats) -> tuple[Floats, Floats]:
    """(M, 2, P) points relative to the middles of M polygons, and the (M, P) area that each stands for."""
    along_y, along_x = ray_directions(distances.shape[1])
    corner = np.stack([distances * along_y, distances * along_x], axis=1)
    following = np.roll(corner, -1, axis=2)
    out = np.sqrt((np.arange(RINGS, dtype=np.float32) + 0.5) / RINGS)
    points = [ring * ((1 - u) * corner + u * following) for ring in out for u in HALVES]
    triangles = distances * np.roll(distances, -1, axis=1)
    return np.concatenate(points, axis=2), np.tile(triangles, (1, len(points)))


def rasterise(middle: Floats, distances: Floats) -> tuple[int, int, NDArray[np.bool_]]:
    """The pixels whose centre is inside a polygon: first row, first column, and an (h, w) mask.

    The pixel of the middle always is.
    """
    rays = len(distances)
    along_y, along_x = ray_directions(rays)
    ys, xs = middle[0] + distances * along_y, middle[1] + distances * along_x
    y0, x0 = math.floor(float(ys.min())), math.floor(float(xs.min()))
    height, width = math.ceil(float(ys.max())) - y0 + 1, math.ceil(float(xs.max())) - x0 + 1
    y = np.arange(y0, y0 + height, dtype=np.float32)[:, None] - middle[0]
    x = np.arange(x0, x0 + width, dtype=np.float32)[None] - middle[1]
    angle = np.arctan2(y, x) % (2 * np.pi)
    sector = np.minimum((angle * (rays / (2 * np.pi))).astype(np.int64), rays - 1)
    part, full = angle - sector * (2 * np.pi / rays), 2 * np.pi / rays
    a, b = distances[sector], distances[(sector + 1) % rays]
    # where the chord between two neighbouring corners crosses the angle
    border = a * b * math.sin(full) / (a * np.sin(part) + b * np.sin(full - part))
    mask = np.hypot(y, x) <= border + ON_BORDER
    mask[int(np.rint(middle[0])) - y0, int(np.rint(middle[1])) - x0] = True
    return y0, x0, mask


def polygon_masks(middles: Floats, distances: Floats, size: tuple[int, int]) -> CropMasks:
    """The masks of N polygons with middles inside an image of that height and width, cut at its borders."""
    boxes, crops = [], []
    for middle, reach in zip(middles, np.maximum(distances, SMALLEST_DISTANCE), strict=True):
        y0, x0, mask = rasterise(middle, reach)
        top, left = max(0, -y0), max(0, -x0)
        mask = mask[top : size[0] - y0, left : size[1] - x0]
        boxes.append((x0 + left, y0 + top, x0 + left + mask.shape[1], y0 + top + mask.shape[0]))
        crops.append(mask)
    return CropMasks.from_crops(boxes, crops).tight()[0]
