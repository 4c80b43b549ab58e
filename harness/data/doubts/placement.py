"""Whether masks lie where their picture shows something: small copies of both are held against each other.

A picture explains some of where its cells are by its brightness and its texture. On Sartorius, LIVECell, DSB2018 and
Usiigaci images it explains half of the variance or a third (median), for masks of another image one hundredth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.masks.crops import CropMasks

SIDE = 32
"""Height and width of the small copies."""

SAMPLED = 128
"""Rows and columns are left out until about so many are left of the shorter side."""

FITS = 0.2
"""Share of variance from which on masks surely belong to a picture."""

BETTER = 4.0
"""Masks belong to another place where they fit so many times better there."""

POOR = 0.05
"""Share of variance below which masks may belong to another picture."""

SHARP = 1.1
"""How much stronger edges must be at a distance of one pixel than at the distances beside it."""

REACH = 2
"""Pixels each way in which edges are looked for."""

TURNS = {
    "upside down": lambda cover: cover[::-1],
    "mirrored": lambda cover: cover[:, ::-1],
    "turned by 180 degrees": lambda cover: cover[::-1, ::-1],
}

TURNS_OF_SQUARES = TURNS | {
    "with x and y exchanged": lambda cover: cover.T,
    "turned by 90 degrees to the left": lambda cover: cover.T[::-1],
    "turned by 90 degrees to the right": lambda cover: cover.T[:, ::-1],
    "turned and mirrored": lambda cover: cover.T[::-1, ::-1],
}


class Copies(NamedTuple):
    """Small copies of an image of that size: (4, n) maps of the picture and (n,) cover of the masks, all normalised."""

    size: tuple[int, int]
    maps: NDArray[np.float32]
    cover: NDArray[np.float32]


@dataclass(frozen=True)
class Placement:
    """How the masks of an image lie on it.

    Attributes:
        fit: share of the variance of their cover that the picture explains, 0 to 1.
        rank: share of moved copies of the masks that fit less well, 0 to 1.
        turned: how the masks must be turned to fit surely and far better; empty where they need not be.
        shift: pixels to the right that the masks' edges must move to lie on edges of the picture; 0 unless it is clear.
        copies: kept where the fit is poor.
    """

    fit: float
    rank: float
    turned: str = ""
    shift: int = 0
    copies: Copies | None = None


def placement_of(image: NDArray[np.uint8], masks: CropMasks) -> Placement | None:
    """How masks lie on their image; None where that cannot be told: they cover all of it, or it is blank."""
    import cv2

    height, width = image.shape[:2]
    step = max(1, min(height, width) // SAMPLED)
    rows = image[::step]
    rows = np.ascontiguousarray(rows) if rows.ndim == 2 else rows.mean(axis=2).astype(np.uint8)
    cover = _cover(masks, step, (rows.shape[0], width))
    small = cv2.resize(cover[:, ::step] * np.uint8(255), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    if small.min() == small.max():
        return None
    copies = Copies((height, width), _maps(np.ascontiguousarray(rows[:, ::step])), _unit(small[None])[0])
    if not copies.maps.any():
        return None
    turns, order = _rearrangements(height == width)
    own, *others = explained(copies.maps, copies.cover[order])
    of_turns, of_moved = np.asarray(others[: len(turns)]), np.asarray(others[len(turns) :])
    best = int(of_turns.argmax())
    is_turned = of_turns[best] >= max(FITS, BETTER * own)
    return Placement(
        float(own),
        float((of_moved < own).mean()),
        turns[best] if is_turned else "",
        _shift(rows, cover),
        copies if own < POOR else None,
    )


@cache
def _rearrangements(square: bool) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Names of the turns, and (m, SIDE * SIDE) places of the cover as it is, turned, and moved around the edges."""
    turns = TURNS_OF_SQUARES if square else TURNS
    places = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    steps = range(0, SIDE, SIDE // 4)
    moved = [np.roll(places, (down, right), (0, 1)) for down in steps for right in steps if down or right]
    whole = [places, *(turn(places) for turn in turns.values()), *moved]
    return tuple(turns), np.stack([each.ravel() for each in whole])


def explained(maps: NDArray[np.float32], covers: NDArray[np.float32]) -> NDArray[np.float64]:
    """R squared: share of the variance of (m, n) normalised covers that (4, n) normalised maps explain."""
    products = covers @ maps.T
    common = maps.astype(np.float64) @ maps.T + 1e-4 * np.eye(len(maps))
    return (products * np.linalg.solve(common, products.T.astype(np.float64)).T).sum(axis=1)


def better_owners(copies: Mapping[str, Copies]) -> dict[str, str]:
    """Images whose masks surely fit another image and not their own, by id, and that image. copies: of poor fits."""
    by_size: dict[tuple[int, int], list[str]] = {}
    for image_id, of_image in copies.items():
        by_size.setdefault(of_image.size, []).append(image_id)
    owners = {}
    for ids in by_size.values():
        covers = np.stack([copies[image_id].cover for image_id in ids])
        fits = np.stack([explained(copies[image_id].maps, covers) for image_id in ids])
        for k, image_id in enumerate(ids):
            best = int(fits[:, k].argmax())
            if fits[best, k] >= max(FITS, BETTER * fits[k, k]):
                owners[image_id] = ids[best]
    return owners


def _cover(masks: CropMasks, step: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Pixels of any mask, 0 and 1, on every `step`th row."""
    cover = np.zeros(shape, np.uint8)
    pixels, offsets = masks.pixels, masks.offsets.tolist()
    # a third of what masks.crop and |= would take, for some hundred cells of each image
    for (x0, y0, x1, _), start, end in zip(masks.boxes.tolist(), offsets, offsets[1:], strict=False):
        crop = pixels[start:end].reshape(-1, x1 - x0)[-y0 % step :: step]
        top = -(-y0 // step)
        part = cover[top : top + len(crop), x0:x1]
        np.bitwise_or(part, crop, out=part)
    return cover


def _maps(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Brightness, its distance from the median, texture and contrast of a picture, small and normalised."""
    import cv2

    def small(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)

    brightness = small(grey)
    texture = small(cv2.convertScaleAbs(cv2.Laplacian(grey, cv2.CV_16S)))
    contrast = np.abs(brightness - cv2.blur(brightness, (5, 5)))
    middle = np.partition(brightness, brightness.size // 2, axis=None)[brightness.size // 2]
    return _unit(np.stack([brightness, np.abs(brightness - middle), texture, contrast]))


def _unit(planes: NDArray) -> NDArray[np.float32]:
    """(m, n) rows of mean 0 and length 1 of m planes; zeros for a plane of one value."""
    flat = planes.reshape(len(planes), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    flat /= np.where(length > 1e-3, length, np.inf)
    return flat


def _shift(grey: NDArray[np.uint8], cover: NDArray[np.uint8]) -> int:
    """Pixels along the rows from the masks' edges to the picture's, where these are sharp; else 0."""
    import cv2

    width = grey.shape[1] - 1
    edges = np.flatnonzero(cover[:, 1:] != cover[:, :-1])
    edges = edges[(edges % width >= REACH) & (edges % width < width - REACH)] if width > 0 else edges
    if not len(edges):
        return 0
    steps = cv2.absdiff(grey[:, 1:], grey[:, :-1]).ravel()
    strength = {dx: float(steps[edges + dx].mean()) for dx in range(-REACH, REACH + 1)}
    best = max(strength, key=lambda dx: strength[dx])
    if abs(best) != 1 or strength[best] < SHARP * max(strength[0], strength[2 * best]):
        return 0
    return best
