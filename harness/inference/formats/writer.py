"""The formats that predictions are written in, and what every format is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.contract import Predictions
from harness.errors import HarnessError, nearest, one_line

FORMATS = ("labels", "coco", "overlay", "geojson")
"""A label image each, one COCO file, an overlay each, an outline file for QuPath each."""

DEFAULT_FORMATS = ("labels", "coco", "overlay")


@dataclass(frozen=True, slots=True, eq=False)
class PredictedImage:
    """An image, and the predictions that the rule keeps: disjoint masks, cropped tightly, ordered by score.

    image: None for one that was predicted in tiles: it is never held as a whole, and gets no overlay.
    """

    image_id: str
    file_name: str
    image: NDArray[np.uint8] | None
    predictions: Predictions


class Writer(Protocol):
    """Writes one format. Both methods raise StorageError where a file cannot be written."""

    def add(self, predicted: PredictedImage) -> None: ...

    def finish(self) -> Path:
        """Write what is written after the last image. Returns the file or folder that holds everything."""
        ...


def warn_of_older_files(writer: Writer) -> list[str]:
    """A line where the writer's folder holds files that it did not write: an earlier prediction of other images."""
    written: set[str] = getattr(writer, "written", set())
    folder = writer.finish() if written else None
    if folder is None or not folder.is_dir():
        return []
    others = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name not in written)
    if not others:
        return []
    return [f"{folder}: {len(others)} files of an earlier prediction are there too ({one_line(others[0], 60)} for one)"]


def open_writers(formats: Sequence[str], out: Path, classes: Sequence[str]) -> list[Writer]:
    """A writer for each format, in the folder `out`. Raises HarnessError on the name of no format."""
    from harness.inference.formats.coco import CocoFile
    from harness.inference.formats.geojson import GeoJson
    from harness.inference.formats.label_images import LabelImages
    from harness.inference.formats.overlays import Overlays

    writers: list[Writer] = []
    for name in dict.fromkeys(formats):
        if name == "labels":
            writers.append(LabelImages(out / "labels"))
        elif name == "coco":
            writers.append(CocoFile(out / "coco.json", classes))
        elif name == "geojson":
            writers.append(GeoJson(out / "geojson", classes))
        elif name == "overlay":
            writers.append(Overlays(out / "overlays"))
        else:
            raise HarnessError(f"no format {name!r}{nearest(name, FORMATS)}; there are: {', '.join(FORMATS)}")
    return writers
