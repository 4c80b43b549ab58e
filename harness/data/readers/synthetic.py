"""Cells drawn in code: nothing to download, any image size, the same pixels from the same seed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from harness.contract import Instances, Sample
from harness.data import synthetic as painter
from harness.data.source import DataSource, Loaded, SourceIndex, SourceLocation
from harness.data.synthetic.cell_shapes import TYPES
from harness.errors import HarnessError, nearest, one_line


@dataclass(frozen=True)
class Settings:
    """images: how many. size: height and width. types: taken in turn. density: factor on the number of cells."""

    images: int = 60
    size: tuple[int, int] = (256, 256)
    seed: int = 0
    types: tuple[str, ...] = tuple(TYPES)
    density: float = 1.0


_CODE = hashlib.sha256(
    b"".join((Path(painter.__path__[0]) / name).read_bytes() for name in ("cell_shapes.py", "phase_contrast.py"))
).hexdigest()
"""Hash of the painter's code, read when it is loaded: a running process draws by the code that it has loaded."""


class Synthetic:
    """`synthetic[:key=value,...]`. Image k depends on the seed and k, not on how many images there are."""

    version = 1

    def __init__(self, location: SourceLocation, text: str) -> None:
        """Raises HarnessError on an unknown key or a value out of range."""
        self.location = location
        self.settings = parse(text)

    def stamp(self) -> object:
        """The settings and the code that draws, so that a change of the painter needs no new version."""
        return [repr(self.settings), _CODE]

    def unlabelled(self) -> tuple[Path, ...]:
        return ()

    def index(self) -> SourceIndex:
        entries = [partial(_draw, self.settings, k) for k in range(self.settings.images)]
        return SourceIndex(tuple(TYPES), entries)


def parse(text: str) -> Settings:
    """Settings from "images=60,size=520x704,types=cort+astro". Raises HarnessError naming the key."""
    given: dict[str, object] = {}
    for item in filter(None, text.split(",")):
        key, _, value = item.partition("=")
        if key not in _KEYS:
            raise HarnessError(
                f"synthetic: no key {one_line(key)!r}{nearest(key, _KEYS)}; there are {', '.join(_KEYS)}"
            )
        if key in given:
            raise HarnessError(f"synthetic: {key} is there twice")
        given[key] = _KEYS[key](value)
    return Settings(**given)  # type: ignore[arg-type]


def _whole(name: str, low: int, high: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", value) or not low <= int(value) <= high:
            raise HarnessError(f"synthetic: {name} is a whole number from {low} to {high}, not {one_line(value)!r}")
        return int(value)

    return read


def _size(value: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,5})(?:x([0-9]{1,5}))?", value)
    sides = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not all(32 <= side <= 8192 for side in sides):
        raise HarnessError(f"synthetic: size is SIDE or HEIGHTxWIDTH, each from 32 to 8192, not {one_line(value)!r}")
    return sides


def _types(value: str) -> tuple[str, ...]:
    names = tuple(value.split("+"))
    if not set(names) <= set(TYPES):
        raise HarnessError(f"synthetic: types are {'+'.join(TYPES)} or some of them, not {one_line(value)!r}")
    return names


def _density(value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,4})?", value) or not 0 < float(value) <= 20:
        raise HarnessError(f"synthetic: density is a number above 0, at most 20, not {one_line(value)!r}")
    return float(value)


_KEYS: dict[str, Callable[[str], object]] = {
    "images": _whole("images", 1, 1_000_000),
    "size": _size,
    "seed": _whole("seed", 0, 999_999_999),
    "types": _types,
    "density": _density,
}


def _draw(settings: Settings, k: int) -> Loaded:
    from harness.data.synthetic.phase_contrast import draw

    cell_type = TYPES[settings.types[k % len(settings.types)]]
    image, masks = draw(cell_type, settings.size, settings.density, np.random.default_rng([settings.seed, k]))
    labels = np.full(len(masks), list(TYPES).index(cell_type.name))
    return Loaded(Sample(f"synthetic-{k:06d}", image, Instances.of_masks(masks, labels), cell_type.name))


def _open(arguments: str) -> Synthetic:
    text = f"synthetic:{arguments}" if arguments else "synthetic"
    return Synthetic(SourceLocation(text, text), arguments)


SOURCE = DataSource(
    name="synthetic",
    usage="synthetic[:images=60,size=256,seed=0,types=shsy5y+astro+cort,density=1]",
    help="cells drawn in code, the same from the same seed; the default",
    open=_open,
)
