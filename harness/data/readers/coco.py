"""COCO annotations: polygons, run lengths as numbers or as text, crowd flags.

Exporters keep to the format loosely. Ids may be numbers or text; ids of annotations are not used; boxes are only held
against the masks. See docs/data.md for all that is read.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Instances, Sample
from harness.data.beside import MAX_BYTES, first_files
from harness.data.files import FileFinder, stamp_of_files
from harness.data.images import read_image
from harness.data.pixels import MAX_PIXELS
from harness.data.segmentations import (
    Key,
    compare_boxes,
    has_outline_inside,
    id_key,
    is_outside,
    segmentation_counts,
)
from harness.data.source import DataSource, Loaded, SourceIndex, SourceLocation
from harness.errors import HarnessError, one_line
from harness.masks.run_lengths import masks_of_counts

USAGE = "coco:ANN.json,IMAGES_DIR"

LIVECELL_NAME = re.compile(r"(?P<type>[A-Za-z0-9]+)_Phase_(?P<well>[A-H][0-9]{1,2})_")
"""LIVECell has one category; type and well of a culture stand in its file names."""

MANY_CROWDS = 0.05
"""Share of annotations that are crowd regions from which on a tool may have marked cells so. In COCO it is 1 %."""

USUAL_FIELDS = ("id", "file_name", "height", "width", "license", "url", "coco_url", "flickr_url", "date_captured")
"""Of an entry of "images". Others are columns."""

SLIVERS = "polygons of fewer than three points beside good ones, left out"
HOLES = "cells with an outline inside another one, both filled as COCO does: was it a hole?"


@dataclass
class CocoImage:
    """An entry of "images" with its annotations.

    Attributes:
        size: height and width, or None where the entry has none.
        rows: where each annotation stands in "annotations", as messages name it.
        columns: what else the entry says, such as its plate.
    """

    image_id: str
    file_name: str
    size: tuple[int, int] | None
    path: Path
    rows: list[str] = field(default_factory=list)
    shapes: list[Any] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)
    boxes: list[Any] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Coco:
    """ANN.json and the folder that holds its images."""

    location: SourceLocation
    version: int = 3

    def stamp(self) -> object:
        return stamp_of_files(*self.location.paths)

    def unlabelled(self) -> tuple[Path, ...]:
        return ()

    def index(self) -> SourceIndex:
        classes, images, problems, notes = self.read()
        notes += _judge_crowds(images)
        return SourceIndex(classes, entries_of(images, classes), tuple(problems), tuple(notes))

    def read(self) -> tuple[tuple[str, ...], list[CocoImage], list[str], list[str]]:
        """Classes, images in the order of their ids, problems and notes, as in SourceIndex."""
        tables = self._tables()
        problems: list[str] = []
        notes: list[str] = []
        classes, label_of = _categories(tables["categories"], tables["annotations"], notes)
        images = _images(tables["images"], FileFinder(self.location.paths[1]), problems, notes)
        _attach(tables["annotations"], images, label_of, problems)
        in_order = sorted({id(i): i for i in images.values()}.values(), key=lambda image: image.image_id)
        return classes, in_order, problems, notes

    def _tables(self) -> dict[str, list[Any]]:
        path, folder = self.location.paths
        if not folder.is_dir():
            raise HarnessError(f"{folder.name} is not a folder; write {USAGE}")
        try:
            whole = json.loads(path.read_bytes())
        except OSError as error:
            raise HarnessError(f"{path.name} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise HarnessError(f"{path.name} is not JSON: {one_line(error)}") from error
        tables = {}
        for name in ("images", "annotations", "categories"):
            table = whole.get(name) if isinstance(whole, dict) else None
            if isinstance(table, dict):  # LIVECell's: an object keyed by id
                table = [{"id": key, **row} if isinstance(row, dict) else row for key, row in table.items()]
            if not isinstance(table, list):
                raise HarnessError(f'{path.name} has no list "{name}"; is it a COCO instances file?')
            tables[name] = table
        return tables


def _judge_crowds(images: Sequence[CocoImage]) -> list[str]:
    """What is told of crowd regions. Where all annotations are marked so, they are cells and the flags are removed."""
    flags = [flag for image in images for flag in image.crowd]
    if not any(flags):
        return []
    brush = "CVAT marks what is drawn with its brush so"
    if all(flags):
        for image in images:
            image.crowd = [False] * len(image.crowd)
        return [f"every annotation has iscrowd 1, a region of many cells: taken as cells ({brush})"]
    hint = f"; {brush}: where they are cells, set iscrowd to 0" if sum(flags) > MANY_CROWDS * len(flags) else ""
    return [f"crowd regions, neither trained on nor scored: {sum(flags)} of {len(flags)} annotations{hint}"]


def entries_of(images: Iterable[CocoImage], classes: tuple[str, ...]) -> list[Callable[[], Loaded]]:
    """What loads each image."""
    return [partial(_load, image, classes) for image in images]


def _categories(table: list[Any], annotations: list[Any], notes: list[str]) -> tuple[tuple[str, ...], dict[Key, int]]:
    """Class names in the order of their ids, and label by category id."""
    names: dict[Key, str] = {}
    for i, row in enumerate(table):
        key, name = id_key(_field(row, "id")), _field(row, "name")
        if key is not None and names.get(key) == name:  # written twice
            continue
        if key is None or not isinstance(name, str) or key in names:
            raise HarnessError(f"categories[{i}]: needs an id of its own and a name")
        names[key] = one_line(name, 60)
    if not names:
        raise HarnessError('"categories" is empty')
    if len(set(names.values())) < len(names):
        used = {id_key(_field(row, "category_id")) for row in annotations}
        for key, name in list(names.items()):
            if key not in used and list(names.values()).count(name) > 1:
                del names[key]
                notes.append(f"a category without annotations that shares its name with another is left out: {name}")
    if len(set(names.values())) < len(names):
        raise HarnessError("two categories share a name, and both have annotations")
    alike = [same for same in _names_alike(names.values()) if len(same) > 1]
    notes += [f"categories whose names differ in case or spaces alone, kept apart: {one_line(same)}" for same in alike]
    order = sorted(names, key=lambda key: (isinstance(key, str), key))
    return tuple(names[n] for n in order), {n: label for label, n in enumerate(order)}


def _names_alike(names: Iterable[str]) -> list[list[str]]:
    """Names that are the same but for upper and lower case and spaces."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault("".join(name.split()).casefold(), []).append(name)
    return list(alike.values())


def _images(table: list[Any], files: FileFinder, problems: list[str], notes: list[str]) -> dict[Key, CocoImage]:
    images: dict[Key, CocoImage] = {}
    by_name: dict[str, CocoImage] = {}
    repeated, converted = set(), 0
    for i, row in enumerate(table):
        key, name = id_key(_field(row, "id")), _field(row, "file_name")
        where = f"images[{i}] ({one_line(name)})"
        sides = [_field(row, "height"), _field(row, "width")]
        if [id_key(side) for side in sides] == [0, 0]:  # some exporters leave them so
            sides = [None, None]
        size = None if None in sides else _size(*sides)
        if key is None or not isinstance(name, str) or not PurePosixPath(name).parts:
            problems.append(f"images[{i}]: needs an id and a file_name")
        elif not name.isprintable():
            problems.append(f"images[{i}]: the file_name {one_line(name)!r} holds characters that cannot be printed")
        elif size is None and None not in sides:
            problems.append(f"{where}: an image of {one_line(sides[0])}x{one_line(sides[1])} is not possible")
        elif key in images and images[key].file_name != name:
            problems.append(f"{where}: the id {one_line(key, 40)} is there twice")
        elif name in by_name and by_name[name].size != size:
            problems.append(f"{where}: the file_name is there twice, with another size")
        elif name in by_name:
            repeated.add(name)
            images[key] = by_name[name]
        else:
            try:
                path = files.find(name)
            except HarnessError as error:
                problems.append(f"{where}: {error}")
                continue
            images[key] = by_name[name] = CocoImage(_stem(name), name, size, path, columns=_columns(row))
            converted += path.suffix.lower() != PurePosixPath(name.strip()).suffix.lower() and path.is_file()
    if repeated:
        notes.append(f"pictures that stand under several ids, each taken as one: {len(repeated)}")
    if converted:
        notes.append(f"images found under another ending than the annotations name: {converted}")
    problems += _give_ids(by_name)
    return images


def _columns(row: dict[str, Any]) -> dict[str, str]:
    """Numbers and words of an entry beyond those of the format."""
    return {
        one_line(name): one_line(value)
        for name, value in row.items()
        if name not in USUAL_FIELDS and isinstance(value, str | int | float) and str(value).strip()
    }


def _give_ids(by_name: dict[str, CocoImage]) -> list[str]:
    """Make ids unique; problems of names that lead to the same file."""
    stems = Counter(image.image_id for image in by_name.values())
    owners: dict[Path, str] = {}
    problems = []
    for name, image in by_name.items():
        if stems[image.image_id] > 1:  # a stem that two files share is no id
            image.image_id = one_line(name)
        if image.path.is_file() and owners.setdefault(image.path, name) != name:
            problems.append(f"{one_line(name)}: the same file as {one_line(owners[image.path])}")
    return problems


def _attach(table: list[Any], images: dict[Key, CocoImage], label_of: Mapping[Key, int], problems: list[str]) -> None:
    """Put each annotation to its image."""
    for i, row in enumerate(table):
        number, crowd = _field(row, "id"), _field(row, "iscrowd")
        image_key, category = id_key(_field(row, "image_id")), id_key(_field(row, "category_id"))
        where = f"annotations[{i}]" + ("" if number is None else f" (id {one_line(number, 40)})")
        if image_key is None or image_key not in images:
            problems.append(f"{where}: there is no good image with the id {one_line(_field(row, 'image_id'), 40)}")
        elif category is None or category not in label_of:
            known = one_line(", ".join(map(str, label_of)), 60)
            wrong = one_line(_field(row, "category_id"), 40)
            problems.append(f"{where}: there is no category with the id {wrong}; there are: {known}")
        elif crowd not in (None, 0, 1, "", "0", "1"):
            problems.append(f"{where}: iscrowd is {one_line(crowd, 40)}, not 0 or 1")
        else:
            image = images[image_key]
            image.rows.append(where)
            image.shapes.append(row.get("segmentation"))
            image.labels.append(label_of[category])
            image.crowd.append(crowd in (1, "1"))
            image.boxes.append(row.get("bbox"))


def _load(image: CocoImage, classes: tuple[str, ...]) -> Loaded:
    faults: dict[int, str] = {}
    counts: dict[int, NDArray[np.int64]] = {}
    slivers, holes, outside = False, False, 0
    try:
        pixels, notes = read_image(image.path, image.size)
        height, width = pixels.shape[:2]
        for i, shape in enumerate(image.shapes):
            try:
                counts[i], some = segmentation_counts(shape, height, width)
                slivers = slivers or some
                outside += is_outside(shape, height, width)
                holes = holes or has_outline_inside(shape)
            except HarnessError as error:
                faults[i] = str(error)
        masks, more = masks_of_counts(counts, height, width)
    except HarnessError as error:
        return Loaded(None, (f"{one_line(image.file_name)}: {error}",))
    faults.update(more)
    good = [i for i in range(len(image.shapes)) if i not in faults]
    labels = np.asarray([image.labels[i] for i in good], np.int64)
    known = LIVECELL_NAME.match(image.image_id)
    cell_type = known["type"] if known else None
    if cell_type is None and len(labels):
        cell_type = classes[int(np.bincount(labels).argmax())]
    group = f"{known['type']} {known['well']}" if known else None
    crowd = np.asarray([image.crowd[i] for i in good], np.bool_)
    sample = Sample(image.image_id, pixels, Instances.of_masks(masks, labels, crowd), cell_type, group)
    where = f"(image {one_line(image.file_name)})"
    problems = tuple(f"{image.rows[i]} {where}: {what}" for i, what in sorted(faults.items()))
    compared, contradicted = compare_boxes([image.boxes[i] for i in good], masks)
    told = (SLIVERS,) * slivers + (HOLES,) * holes
    return Loaded(sample, problems, (*notes, *told), compared, contradicted, outside, columns=image.columns)


def _field(row: Any, name: str) -> Any:
    return row.get(name) if isinstance(row, dict) else None


def _size(height: Any, width: Any) -> tuple[int, int] | None:
    high, wide = id_key(height), id_key(width)
    if not isinstance(high, int) or not isinstance(wide, int) or high < 1 or wide < 1:
        return None
    return (high, wide) if high * wide <= MAX_PIXELS else None


def _stem(name: str) -> str:
    return one_line(PurePosixPath(name.replace("\\", "/")).stem)


def _guess(folder: Path) -> str | None:
    """By a file of annotations in the folder, in annotations/ or in train/; images are in images/ or beside it."""
    for home in (folder, folder / "annotations", folder / "train"):
        beside = home if home.name == "train" else folder
        for path in [path for path in first_files(home) if path.suffix == ".json"][:5]:
            if path.stat().st_size < MAX_BYTES:
                text = path.read_bytes()
                if all(f'"{name}"'.encode() in text for name in ("images", "annotations", "categories")):
                    images = folder / "images"
                    return f"coco:{path},{images if images.is_dir() else beside}"
    return None


SOURCE = DataSource(
    name="coco",
    usage=USAGE,
    help="polygons and run lengths; LIVECell's files are this",
    open=lambda arguments: Coco(SourceLocation.of(USAGE, arguments)),
    guess=_guess,
)
