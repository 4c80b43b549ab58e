"""ImageJ's regions of interest beside images: sets of the ROI Manager (*.zip) and single ones (*.roi).

The ROI Manager saves a set as a zip file with one .roi file for each region. The package roifile reads those.

Coordinates of area selections count from the upper left corner of the upper left pixel, so that pixel (0, 0) is the
square from (0, 0) to (1, 1). ImageJ fills a selection where it holds the centre of a pixel (documentation of
ij.process.PolygonFiller), and so does this reader.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.beside import BesideImages, beside_images, read_bytes
from harness.data.drawing import Canvas, Cell, Patch, draw_sample
from harness.data.images import SUFFIXES, images_in
from harness.data.pairing import stem_of
from harness.data.source import Loaded
from harness.errors import HarnessError, one_line

ENDINGS = ("_roiset", "-roiset", " roiset", "_rois", "_roi")
BEGINNINGS = ("roiset_", "roiset-")

DEFAULT_NAME = "roiset"
"""What the ROI Manager proposes; it belongs to the only image of a folder."""

MAX_ROIS = 100_000
MAX_ROI_BYTES = 2**24
MAX_SET_BYTES = 2**28
"""Limits of a set, unpacked. A region takes some 100 bytes to a few kB."""

RECTANGLE, OVAL, AREAS = 1, 2, (0, 7, 8)
"""Types of region (ij.io.RoiEncoder). Areas: polygon, freehand, traced. A composite is a rectangle with a path."""

TEXT_ARROW_IMAGE = (1, 2, 4)
"""Subtypes that decorate an image and select nothing."""

WITHOUT_AREA = (3, 4, 5, 6, 9, 10)
"""Line, freehand line, polyline, none, angle, point."""


class ImagejRois(BesideImages):
    """x.zip, x_RoiSet.zip, RoiSet_x.zip or x.roi belongs to the image x; RoiSet.zip to the only image of a folder."""

    usage = "imagej:DIR"
    files = "*.zip or *.roi"

    @staticmethod
    def is_annotation(path: Path) -> bool:
        return path.suffix.lower() in (".zip", ".roi")

    def key(self, path: Path) -> str:
        stem = stem_of(path)
        if not self.is_annotation(path):
            return stem
        if stem.lower() == DEFAULT_NAME:
            images = list(images_in(self.folder).values())
            return stem_of(images[0]) if len(images) == 1 else stem
        stem = next((stem[: -len(end)] for end in ENDINGS if stem.lower().endswith(end)), stem)
        stem = next((stem[len(start) :] for start in BEGINNINGS if stem.lower().startswith(start)), stem)
        return stem[: -len(Path(stem).suffix)] if Path(stem).suffix.lower() in SUFFIXES else stem

    def read(self, image_id: str, pixels: NDArray[np.uint8], path: Path, classes: tuple[str, ...]) -> Loaded:
        data = read_bytes(path, MAX_SET_BYTES)
        regions = [(path.name, data)] if data.startswith(b"Iout") else _unpacked(data)
        problems: list[str] = []
        cells: list[Cell] = []
        without_area = 0
        for name, content in regions:
            where = one_line(name, 80)
            try:
                draw = _drawing(content)
            except HarnessError as error:
                problems.append(f"{where}: {error}")
                continue
            without_area += draw is None
            if draw is not None:
                cells.append(Cell(where, 0, draw))
        sample, more, outside = draw_sample(image_id, pixels, cells, classes)
        notes = ("ImageJ regions without an area (lines, points), left out",) if without_area else ()
        return Loaded(sample, (*problems, *more), notes, outside=outside)


def _unpacked(data: bytes) -> list[tuple[str, bytes]]:
    """Names and content of the regions in a zip file. Raises HarnessError."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [file for file in archive.infolist() if _is_region(file.filename)]
            if not files:
                raise HarnessError("a zip file without .roi files: not a set of the ROI Manager")
            if len(files) > MAX_ROIS or sum(file.file_size for file in files) > MAX_SET_BYTES:
                raise HarnessError(f"{len(files):,} regions are too many or too large")
            return [(file.filename, _content(archive, file)) for file in files]
    except HarnessError:
        raise
    except Exception as error:  # zipfile raises nearly anything on damaged bytes
        raise HarnessError(f"not a whole zip file of regions: {one_line(error) or type(error).__name__}") from error


def _is_region(name: str) -> bool:
    """Whether a file in a zip file is a region; ._name is what macOS leaves beside each file."""
    return name.lower().endswith(".roi") and not name.rpartition("/")[2].startswith("._")


def _content(archive: zipfile.ZipFile, file: zipfile.ZipInfo) -> bytes:
    with archive.open(file) as opened:
        content = opened.read(MAX_ROI_BYTES + 1)
    if len(content) > MAX_ROI_BYTES:
        raise HarnessError(f"{one_line(file.filename, 80)} unpacks to more than {MAX_ROI_BYTES:,} bytes")
    return content


def _drawing(content: bytes) -> Callable[[Canvas], Sequence[Patch]] | None:
    """How to draw a region; None where it has no area. Raises HarnessError."""
    import roifile

    try:
        roi = roifile.ImagejRoi.frombytes(content)
        kind, subtype, composite = int(roi.roitype), int(roi.subtype), bool(roi.composite)
        parts = [np.asarray(part, np.float64).reshape(-1, 2) for part in roi.coordinates(multi=True)]
        box = _box(roi)
        plane = max(int(roi.position), int(roi.z_position), int(roi.t_position))
    except Exception as error:  # a damaged file raises nearly anything
        raise HarnessError(f"not a region of ImageJ: {one_line(error) or type(error).__name__}") from error
    if kind in WITHOUT_AREA or subtype in TEXT_ARROW_IMAGE:
        return None
    if plane > 1:
        raise HarnessError(f"a region on plane {plane} of a stack; save that plane and its regions for themselves")
    if kind not in (RECTANGLE, OVAL, *AREAS):
        raise HarnessError(f"a region of an unknown type, {kind}")
    if not all(np.isfinite(part).all() for part in parts) or not np.isfinite(box).all():
        raise HarnessError("a region with coordinates that are not finite")
    if kind == OVAL:
        return lambda canvas: [canvas.ellipse(*box)]
    if kind == RECTANGLE and not composite:
        left, top, right, bottom = box
        parts = [np.asarray([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)]
    return partial(_filled, parts)


def _filled(parts: list[NDArray[np.float64]], canvas: Canvas) -> list[Patch]:
    return [canvas.polygon(parts)]


def _box(roi: Any) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a rectangle or oval, with fractions where the file has them."""
    if roi.subpixelrect:
        return float(roi.xd), float(roi.yd), float(roi.xd + roi.widthd), float(roi.yd + roi.heightd)
    return float(roi.left), float(roi.top), float(roi.right), float(roi.bottom)


SOURCE = beside_images("imagej", ImagejRois, "ImageJ's ROI sets (*.zip, *.roi) beside images")
