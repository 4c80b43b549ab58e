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
from harness.data.typed_keys import image_size, names, parse_keys, whole
from harness.errors import HarnessError, one_line


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
    return Settings(**parse_keys("synthetic", text, _KEYS))  # type: ignore[arg-type]


def _density(value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,4})?", value) or not 0 < float(value) <= 20:
        raise HarnessError(f"synthetic: density is a number above 0, at most 20, not {one_line(value)!r}")
    return float(value)


_KEYS: dict[str, Callable[[str], object]] = {
    "images": whole("synthetic", "images", 1, 1_000_000),
    "size": image_size("synthetic"),
    "seed": whole("synthetic", "seed", 0, 999_999_999),
    "types": names("synthetic", "types", tuple(TYPES)),
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
    drawn=True,
)
