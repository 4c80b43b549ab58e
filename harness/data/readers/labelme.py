"""labelme's JSON files, one an image.

labelme counts coordinates from the upper left corner of the upper left pixel. Polygons and rectangles are filled as the
COCO reader fills them; labelme's own export paints their outline besides, half a pixel more on every side.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.beside import first_files, read_json, visible
from harness.data.drawing import Canvas, Cell, Patch, draw_sample, points_of
from harness.data.files import stamp_of_files
from harness.data.images import images_in, read_image, read_labels
from harness.data.pairing import without_labels
from harness.data.source import DataSource, Loaded, SourceIndex, SourceLocation
from harness.errors import HarnessError, one_line

USAGE = "labelme:DIR"

NO_CLASS = ("_background_", "__ignore__")
"""Labels by which labelme marks what is no object."""

WITHOUT_AREA = ("point", "points", "line", "linestrip")


@dataclass(frozen=True)
class LabelmeFolder:
    """Every *.json of a folder is the annotation of one image.

    The image is the file named by imagePath, looked for in the folder (the name alone where the path leads elsewhere);
    else the copy in imageData. Shapes of one label and one group_id are one cell, as labelme's own export takes them.
    """

    location: SourceLocation
    version: int = 1

    def stamp(self) -> object:
        return stamp_of_files(*self.location.paths)

    def unlabelled(self) -> tuple[Path, ...]:
        return self._look_through().unlabelled

    def index(self) -> SourceIndex:
        found = self._look_through()
        classes = tuple(sorted(found.labels)) or ("cell",)
        files = sorted(found.files.items())
        entries = [partial(_load, image_id, path, self._folder, classes) for image_id, path in files]
        notes = (f"no annotations, taken as unlabelled: {len(found.unlabelled)} images",) if found.unlabelled else ()
        return SourceIndex(classes, entries, tuple(found.problems), notes)

    @property
    def _folder(self) -> Path:
        return self.location.folder(USAGE)

    def _look_through(self) -> _Found:
        """All files, each read once for its labels and the name of its image."""
        found, images = _Found(), images_in(self._folder)
        annotated: set[Path] = set()
        for path in sorted(self._folder.iterdir()):
            if path.suffix.lower() != ".json" or not visible(path):
                continue
            try:
                whole = _annotations(path)
                image = _image_file(whole, self._folder)
                image_id = (image or path).stem
                if not image_id.isprintable():
                    raise HarnessError("the name of its image holds characters that cannot be printed")
                if image_id in found.files:
                    raise HarnessError(f"{one_line(found.files[image_id].name)} annotates the same image")
                found.labels.update(label for _, label, _ in _objects(whole))
            except HarnessError as error:
                found.problems.append(f"{one_line(path.name)}: {error}")
                continue
            found.files[image_id] = path
            annotated |= {image} if image else set()
        plain, _ = without_labels(images.values())
        found.unlabelled = tuple(path for path in plain if path not in annotated)
        return found


@dataclass
class _Found:
    """What a folder holds. files: annotation file by image id."""

    files: dict[str, Path] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    unlabelled: tuple[Path, ...] = ()


def _annotations(path: Path) -> dict[str, Any]:
    whole = read_json(path)
    if not isinstance(whole, dict) or not isinstance(whole.get("shapes"), list):
        raise HarnessError('no list "shapes": is it a file of labelme?')
    return whole


def _image_file(whole: dict[str, Any], folder: Path) -> Path | None:
    """The image in the folder, by the path in the file or its last part; None where there is none."""
    typed = whole.get("imagePath")
    if not isinstance(typed, str) or not typed or "\0" in typed:
        return None
    parts = PureWindowsPath(typed).parts  # understands / and \
    outside = PureWindowsPath(typed).is_absolute() or typed.startswith(("/", "\\")) or ".." in parts
    for candidate in (folder / parts[-1],) if outside else (folder.joinpath(*parts), folder / parts[-1]):
        try:
            if candidate.is_file():
                return candidate
        except OSError:  # a name too long
            continue
    return None


def _objects(whole: dict[str, Any]) -> Iterator[tuple[int, str, list[dict[str, Any]]]]:
    """Place of the first shape, label, and shapes of each object that has an area and a class."""
    groups: dict[tuple[str, object], tuple[int, str, list[dict[str, Any]]]] = {}
    for i, shape in enumerate(whole["shapes"]):
        label = shape.get("label") if isinstance(shape, dict) else None
        if not isinstance(label, str) or not label.strip():
            raise HarnessError(f"shapes[{i}] has no label")
        if label in NO_CLASS or shape.get("shape_type") in WITHOUT_AREA:
            continue
        name, group = one_line(label, 60), shape.get("group_id")
        key = (name, ("group", group) if type(group) is int else ("shape", i))
        groups.setdefault(key, (i, name, []))[2].append(shape)
    yield from groups.values()


def _load(image_id: str, path: Path, folder: Path, classes: tuple[str, ...]) -> Loaded:
    try:
        whole = _annotations(path)
        pixels, notes = _image(whole, folder)
        labels = {name: label for label, name in enumerate(classes)}
        objects = list(_objects(whole))
        if not all(name in labels for _, name, _ in objects):
            raise HarnessError("the file changed while it was read")
        cells = [Cell(f"shapes[{i}]", labels[name], partial(_drawn, shapes)) for i, name, shapes in objects]
        sample, problems = draw_sample(image_id, pixels, cells, classes)
    except HarnessError as error:
        return Loaded(None, (f"{one_line(path.name)}: {error}",))
    more = Counter(
        f"labelme shapes of the type {one_line(shape['shape_type'], 20)}, left out"
        for shape in whole["shapes"]
        if shape.get("shape_type") in WITHOUT_AREA
    )
    ignored = ("labelme shapes marked as background or to be ignored, left out",)
    notes += ignored if any(shape["label"] in NO_CLASS for shape in whole["shapes"]) else ()
    return Loaded(sample, tuple(f"{one_line(path.name)}: {line}" for line in problems), (*notes, *sorted(more)))


def _image(whole: dict[str, Any], folder: Path) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    sides = whole.get("imageHeight"), whole.get("imageWidth")
    size = (sides[0], sides[1]) if type(sides[0]) is int and type(sides[1]) is int else None
    image = _image_file(whole, folder)
    if image is not None:
        try:
            return read_image(image, size)
        except HarnessError as error:
            raise HarnessError(f"{one_line(image.name)}: {error}") from error
    embedded = whole.get("imageData")
    if not isinstance(embedded, str):
        raise HarnessError(f"its image {one_line(whole.get('imagePath'), 80)!r} is not in the folder, nor in imageData")
    pixels, notes = read_image(_of_base64(embedded), size)
    return pixels, (*notes, "image not in the folder, taken from imageData")


def _of_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise HarnessError(f"not base64: {one_line(error)}") from error


def _drawn(shapes: list[dict[str, Any]], canvas: Canvas) -> list[Patch]:
    return [_patch(shape, canvas) for shape in shapes]


def _patch(shape: dict[str, Any], canvas: Canvas) -> Patch:
    kind = shape.get("shape_type") or "polygon"  # the oldest files name no type
    points = points_of(shape.get("points"))
    if kind == "polygon":
        return canvas.coco_polygon(points)
    if kind not in ("rectangle", "oriented_rectangle", "circle", "mask"):
        raise HarnessError(f"a shape of the type {one_line(kind, 40)}; polygon, rectangle, circle and mask are read")
    if kind == "oriented_rectangle" or (kind == "rectangle" and len(points) == 4):
        return canvas.coco_polygon(points)
    if len(points) != 2:
        raise HarnessError(f"a {kind} of {len(points)} points; it has two")
    (x0, y0), (x1, y1) = points.tolist()
    if kind == "rectangle":
        return canvas.coco_polygon(np.asarray([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]))
    if kind == "circle":  # its centre, and a point on it
        radius = math.hypot(x1 - x0, y1 - y0)
        return canvas.ellipse(x0 - radius, y0 - radius, x0 + radius, y0 + radius)
    return _of_mask(shape.get("mask"), (round(x0), round(y0)), (round(x1), round(y1)), canvas)


def _of_mask(text: Any, first: tuple[int, int], last: tuple[int, int], canvas: Canvas) -> Patch:
    """A PNG image in base64; first, last: the pixels x, y at its upper left and lower right corner."""
    if not isinstance(text, str):
        raise HarnessError("a mask without its pixels")
    height, width = last[1] - first[1] + 1, last[0] - first[0] + 1
    canvas.reserve(max(width, 0), max(height, 0))
    return canvas.plane(*first, read_labels(_of_base64(text), (height, width)) != 0)


def _guess(folder: Path) -> str | None:
    for path in first_files(folder):
        if path.suffix.lower() == ".json" and visible(path):
            try:
                whole = _annotations(path)
            except HarnessError:
                return None
            return f"labelme:{folder}" if "imagePath" in whole else None
    return None


SOURCE = DataSource(
    name="labelme",
    usage=USAGE,
    help="labelme's JSON files beside images",
    open=lambda arguments: LabelmeFolder(SourceLocation.of(USAGE, arguments)),
    guess=_guess,
)
