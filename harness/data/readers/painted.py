"""Painted cells of every kind: no two images of one microscope, culture or camera. What pretraining learns from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from harness.contract import Instances, Sample
from harness.data import painted
from harness.data.painted.scene import EFFECTS, MODALITIES, SIDES
from harness.data.source import DataSource, Loaded, SourceIndex, SourceLocation
from harness.data.typed_keys import image_size, names, parse_keys, whole
from harness.errors import HarnessError, one_line

CLASSES = ("cell",)


@dataclass(frozen=True)
class Settings:
    """images: how many. size: height and width. cells: range of the median cell's side in pixels.

    without: kinds of image and effects that are left out.
    """

    images: int = 60
    size: tuple[int, int] = (256, 256)
    seed: int = 0
    cells: tuple[float, float] = SIDES
    without: tuple[str, ...] = ()


PAINTER_CODE = hashlib.sha256(
    b"".join(path.read_bytes() for path in sorted(Path(painted.__path__[0]).glob("*.py")))
).hexdigest()
"""Hash of the painter's code, read when it is loaded: a running process paints by the code that it has loaded."""


class Painted:
    """`painted[:key=value,...]`. Image k depends on the seed and k, not on how many images there are."""

    version = 1

    def __init__(self, location: SourceLocation, text: str) -> None:
        """Raises HarnessError on an unknown key or a value out of range."""
        self.location = location
        self.settings = parse(text)

    def stamp(self) -> object:
        """The settings and the code that paints, so that a change of the painter needs no new version."""
        return [repr(self.settings), PAINTER_CODE]

    def unlabelled(self) -> tuple[Path, ...]:
        return ()

    def index(self) -> SourceIndex:
        entries = [partial(_load, self.settings, k) for k in range(self.settings.images)]
        return SourceIndex(CLASSES, entries)


def parse(text: str) -> Settings:
    """Settings from "images=60,size=520x704,cells=10-40,without=noise". Raises HarnessError naming the key."""
    return Settings(**parse_keys("painted", text, _KEYS))  # type: ignore[arg-type]


def _cells(value: str) -> tuple[float, float]:
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,2})?)-([0-9]{1,3}(?:\.[0-9]{1,2})?)", value)
    low, high = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
    if not SIDES[0] <= low <= high <= SIDES[1]:
        least, most = (f"{side:g}" for side in SIDES)
        raise HarnessError(f"painted: cells is LOW-HIGH, sides from {least} to {most} pixels, not {one_line(value)!r}")
    return low, high


_KEYS: dict[str, Callable[[str], object]] = {
    "images": whole("painted", "images", 1, 1_000_000),
    "size": image_size("painted"),
    "seed": whole("painted", "seed", 0, 999_999_999),
    "cells": _cells,
    "without": names("painted", "without", (*MODALITIES, *EFFECTS)),
}


def painted_sample(settings: Settings, *key: int) -> Sample:
    """The image of the seed and a key, of one number or more."""
    from harness.data.painted.painter import paint

    rng = np.random.default_rng([settings.seed, *key])
    image, masks, scene = paint(settings.size, rng, settings.cells, settings.without)
    name = "-".join(f"{number:06d}" for number in key)
    cells = Instances.of_masks(masks, np.zeros(len(masks), np.int64))
    return Sample(f"painted-{name}", image, cells, scene.modality)


def _load(settings: Settings, k: int) -> Loaded:
    return Loaded(painted_sample(settings, k))


def _open(arguments: str) -> Painted:
    text = f"painted:{arguments}" if arguments else "painted"
    return Painted(SourceLocation(text, text), arguments)


SOURCE = DataSource(
    name="painted",
    usage="painted[:images=60,size=256,seed=0,cells=6-150,without=EFFECT+...]",
    help="cells painted in every kind of microscopy, the same from the same seed",
    open=_open,
    drawn=True,
)
