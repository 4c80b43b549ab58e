"""labelme's JSON files, one an image.

labelme counts coordinates from the upper left corner of the upper left pixel. Polygons and rectangles are filled as the
COCO reader fills them; labelme's own export paints their outline besides, half a pixel more on every side.
"""

from __future__ import annotations

import base64
import binascii
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.beside import first_files, read_json, visible
from harness.data.drawing import Canvas, Cell, Patch, draw_sample, points_of
from harness.data.files import FileFinder, files_below, stamp_of_files
from harness.data.images import images_in, is_image, read_image, read_labels
from harness.data.pairing import IMAGE_FOLDERS, without_labels
from harness.data.source import DataSource, Loaded, SourceIndex, SourceLocation
from harness.errors import HarnessError, one_line

USAGE = "labelme:DIR"

NO_CLASS = ("_background_", "__ignore__")
"""Labels by which labelme marks what is no object."""

WITHOUT_AREA = ("point", "points", "line", "linestrip")

NUMBERED = re.compile(r"(.*?[^0-9_ #-])[_ #-]*[0-9]+")
"""A label that numbers its object: cell-1, as labelme's own examples once told cells apart."""

MAX_GUESSED = 5
"""Subfolders that are looked into to guess what a folder is."""

LEAST_NUMBERED = 3
"""Objects of an image that must be numbered for numbers to be left off."""

CAUSES = {
    "pieces": "do different cells have one group_id? labelme takes shapes of one label and group_id as one object"
}
"""Likely causes of doubts in this format."""


@dataclass(frozen=True)
class LabelmeFolder:
    """Every *.json of a folder is the annotation of one image; where there is none, those in its subfolders are.

    The image is the file named by imagePath, where that is in the folder, else a file of that name below it; else the
    copy in imageData. Shapes of one label and one group_id are one cell, as labelme's own export takes them.
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
        entries = [partial(_load, image_id, *of_image, classes, found.names) for image_id, of_image in files]
        notes = [f"no annotations, taken as unlabelled: {len(found.unlabelled)} images"] if found.unlabelled else []
        if found.names:
            first, stem = min(found.names.items())
            notes.append(f"labels that number their objects, taken without the number: {first} as {stem}, and so on")
        return SourceIndex(classes, entries, tuple(found.problems), tuple(notes), CAUSES)

    @property
    def _folder(self) -> Path:
        return self.location.folder(USAGE)

    def _look_through(self) -> _Found:
        """All files, each read once for its labels and the name of its image."""
        found, folder = _Found(), self._folder
        files = [path for path in sorted(folder.iterdir()) if _is_annotation(path)]
        nested = not files
        if nested:
            files = [path for path in files_below(folder) if _is_annotation(path)]
        finder, labels = FileFinder(folder), list[Counter[str]]()
        for path in files:
            try:
                whole = _annotations(path)
                image = _image_file(whole, path.parent, folder, finder)
                image_id = _id(image or path, folder if nested else None)
                if not image_id.isprintable():
                    raise HarnessError("the name of its image holds characters that cannot be printed")
                if image_id in found.files:
                    raise HarnessError(f"{one_line(found.files[image_id][0].name)} annotates the same image")
                labels.append(Counter(label for _, label, _ in _objects(whole)))
            except HarnessError as error:
                found.problems.append(f"{one_line(path.name)}: {error}")
                continue
            found.files[image_id] = path, image
        found.names = _without_numbers(labels)
        found.labels = {found.names.get(label, label) for of_file in labels for label in of_file}
        images = [path for path in files_below(folder) if is_image(path)] if nested else images_in(folder).values()
        annotated = {image for _, image in found.files.values()}
        found.unlabelled = tuple(path for path in without_labels(images)[0] if path not in annotated)
        return found


@dataclass
class _Found:
    """What a folder holds.

    Attributes:
        files: annotation file and image file by image id; no image file where it is not there.
        labels: of all files.
        names: what labels that number their objects are taken for.
    """

    files: dict[str, tuple[Path, Path | None]] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unlabelled: tuple[Path, ...] = ()


def _is_annotation(path: Path) -> bool:
    return path.suffix.lower() == ".json" and visible(path)


def _id(path: Path, folder: Path | None) -> str:
    """The stem; below a folder with the subfolders before it that do not only say what their files are."""
    if folder is None:
        return path.stem
    parts = path.parent.relative_to(folder).parts
    return "/".join([*(part for part in parts if part.lower() not in (*IMAGE_FOLDERS, "json")), path.stem])


def _without_numbers(files: Iterable[Counter[str]]) -> dict[str, str]:
    """Labels to what is left of them without a number, where the number tells the objects of an image apart.

    files: how often each label is in a file. A label that is there twice in one file is a class.
    """
    stems: dict[str, str] = {}
    most: Counter[str] = Counter()
    classes: set[str] = set()
    for labels in files:
        numbered = {label: found[1] for label in labels if (found := NUMBERED.fullmatch(label))}
        stems |= numbered
        most |= Counter(numbered.values())
        classes |= {stem for label, stem in numbered.items() if labels[label] > 1}
    return {label: stem for label, stem in stems.items() if most[stem] >= LEAST_NUMBERED and stem not in classes}


def _annotations(path: Path) -> dict[str, Any]:
    whole = read_json(path)
    if not isinstance(whole, dict) or not isinstance(whole.get("shapes"), list):
        raise HarnessError('no list "shapes": is it a file of labelme?')
    return whole


def _image_file(whole: dict[str, Any], home: Path, folder: Path, finder: FileFinder) -> Path | None:
    """The image, by the path in the file, which starts at its folder `home`, or by its last part below `folder`.

    Nothing outside of `folder` is looked at. None where there is no such file.
    """
    typed = whole.get("imagePath")
    if not isinstance(typed, str) or not typed or "\0" in typed:
        return None
    parts = PureWindowsPath(typed).parts  # understands / and \
    if not parts:
        return None
    absolute = PureWindowsPath(typed).is_absolute() or typed.startswith(("/", "\\"))
    named = Path(os.path.normpath(home.joinpath(*parts))) if not absolute else home / parts[-1]
    for candidate in (named, home / parts[-1]):
        try:
            if candidate.is_relative_to(folder) and candidate.is_file():
                return candidate
        except OSError:  # a name too long
            continue
    try:
        found = finder.find(parts[-1])
        return found if found.is_file() else None
    except (HarnessError, OSError):  # several files have that name, or it is none
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


def _load(image_id: str, path: Path, image: Path | None, classes: tuple[str, ...], names: Mapping[str, str]) -> Loaded:
    try:
        whole = _annotations(path)
        pixels, notes = _image(whole, image)
        labels = {name: label for label, name in enumerate(classes)}
        objects = [(i, names.get(name, name), shapes) for i, name, shapes in _objects(whole)]
        if not all(name in labels for _, name, _ in objects):
            raise HarnessError("the file changed while it was read")
        cells = [Cell(f"shapes[{i}]", labels[name], partial(_drawn, shapes)) for i, name, shapes in objects]
        sample, problems, outside = draw_sample(image_id, pixels, cells, classes)
    except HarnessError as error:
        return Loaded(None, (f"{one_line(path.name)}: {error}",))
    more = Counter(
        f"labelme shapes of the type {one_line(shape['shape_type'], 20)}, left out"
        for shape in whole["shapes"]
        if shape.get("shape_type") in WITHOUT_AREA
    )
    ignored = ("labelme shapes marked as background or to be ignored, left out",)
    notes += ignored if any(shape["label"] in NO_CLASS for shape in whole["shapes"]) else ()
    lines = tuple(f"{one_line(path.name)}: {line}" for line in problems)
    return Loaded(sample, lines, (*notes, *sorted(more)), outside=outside)


def _image(whole: dict[str, Any], image: Path | None) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    sides = whole.get("imageHeight"), whole.get("imageWidth")
    size = (sides[0], sides[1]) if type(sides[0]) is int and type(sides[1]) is int else None
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
    if kind not in ("rectangle", "oriented_rectangle", "rotation", "circle", "mask"):
        raise HarnessError(f"a shape of the type {one_line(kind, 40)}; polygon, rectangle, circle and mask are read")
    if kind in ("oriented_rectangle", "rotation") or (kind == "rectangle" and len(points) == 4):
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
    below = sorted(path for path in folder.iterdir() if path.is_dir() and visible(path))
    for path in (path for home in (folder, *below[:MAX_GUESSED]) for path in first_files(home)):
        if _is_annotation(path):
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
