"""COCO annotations: polygons, run lengths as numbers or as text, crowd flags."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Instances, Sample
from harness.data.files import inside, stamp_of_files
from harness.data.images import read_image
from harness.data.pixels import MAX_PIXELS
from harness.data.source import DataSource, Loaded, SourceIndex, SourceLocation
from harness.errors import HarnessError, one_line
from harness.masks.run_lengths import counts_of_text, masks_of_counts

LIVECELL_NAME = re.compile(r"(?P<type>[A-Za-z0-9]+)_Phase_(?P<well>[A-H][0-9]{1,2})_")
"""LIVECell has one category; type and well of a culture stand in its file names."""


@dataclass
class _Image:
    """An entry of "images" with its annotations. rows: the place of each in "annotations", as messages name it."""

    image_id: str
    file_name: str
    height: int
    width: int
    rows: list[str] = field(default_factory=list)
    shapes: list[Any] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)


@dataclass(frozen=True)
class Coco:
    """ANN.json and the folder that its file names start from (or end in: "images/x.png" is found in images/ too)."""

    location: SourceLocation
    version: int = 1

    def stamp(self) -> object:
        return stamp_of_files(*self.location.paths)

    def unlabelled(self) -> tuple[Path, ...]:
        return ()

    def index(self) -> SourceIndex:
        tables = self._tables()
        problems: list[str] = []
        classes, label_of = _categories(tables["categories"])
        images = _images(tables["images"], problems)
        _attach(tables["annotations"], images, label_of, problems)
        folder = self._folder([image.file_name for image in images.values()])
        in_order = sorted(images.values(), key=lambda image: image.image_id)
        entries = [partial(_load, image, folder, classes) for image in in_order]
        return SourceIndex(classes, entries, tuple(problems))

    def _tables(self) -> dict[str, list[Any]]:
        path, folder = self.location.paths
        if not folder.is_dir():
            raise HarnessError(f"{folder.name} is not a folder; write coco:ANN.json,IMAGES_DIR")
        try:
            whole = json.loads(path.read_bytes())
        except OSError as error:
            raise HarnessError(f"{path.name} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise HarnessError(f"{path.name} is not JSON: {one_line(error)}") from error
        tables = {}
        for name in ("images", "annotations", "categories"):
            table = whole.get(name) if isinstance(whole, dict) else None
            if not isinstance(table, list):
                raise HarnessError(f'{path.name} has no list "{name}"; is it a COCO instances file?')
            tables[name] = table
        return tables

    def _folder(self, names: list[str]) -> Path:
        """Where file names start: the folder, or its parent if all names begin with the folder's own name."""
        folder = self.location.paths[1]
        repeated = names and all(PurePosixPath(name).parts[0] == folder.name for name in names)
        return folder.parent if repeated and not (folder / folder.name).is_dir() else folder


def _categories(table: list[Any]) -> tuple[tuple[str, ...], dict[int, int]]:
    """Class names in the order of their ids, and label by category id."""
    names: dict[int, str] = {}
    for i, row in enumerate(table):
        number, name = _field(row, "id"), _field(row, "name")
        if not _is_whole(number) or not isinstance(name, str) or number in names:
            raise HarnessError(f"categories[{i}]: needs a whole number of its own as id and a name")
        names[number] = one_line(name, 60)
    if not names:
        raise HarnessError('"categories" is empty')
    if len(set(names.values())) < len(names):
        raise HarnessError("two categories share a name")
    order = sorted(names)
    return tuple(names[n] for n in order), {n: label for label, n in enumerate(order)}


def _images(table: list[Any], problems: list[str]) -> dict[int, _Image]:
    images: dict[int, _Image] = {}
    file_names: set[str] = set()
    for i, row in enumerate(table):
        number, name = _field(row, "id"), _field(row, "file_name")
        height, width = _field(row, "height"), _field(row, "width")
        where = f"images[{i}]"
        if not _is_whole(number) or not isinstance(name, str) or not PurePosixPath(name).parts:
            problems.append(f"{where}: needs a whole number as id and a file_name")
        elif not name.isprintable():
            problems.append(f"{where}: the file_name {one_line(name)!r} holds characters that cannot be printed")
        elif not _is_whole(height) or not _is_whole(width) or height < 1 or width < 1 or height * width > MAX_PIXELS:
            problems.append(
                f"{where} ({one_line(name)}): an image of {one_line(height)}x{one_line(width)} is not possible"
            )
        elif number in images:
            problems.append(f"{where} ({one_line(name)}): the id {number} is there twice")
        elif name in file_names:
            problems.append(f"{where} ({one_line(name)}): the file_name is there twice")
        else:
            file_names.add(name)
            images[number] = _Image(one_line(PurePosixPath(name).stem), name, height, width)
    stems = Counter(image.image_id for image in images.values())
    for image in images.values():  # a stem two files share is no id
        if stems[image.image_id] > 1:
            image.image_id = one_line(image.file_name)
    return images


def _attach(table: list[Any], images: dict[int, _Image], label_of: Mapping[int, int], problems: list[str]) -> None:
    """Put each annotation to its image."""
    seen: set[int] = set()
    for i, row in enumerate(table):
        number, image_number = _field(row, "id"), _field(row, "image_id")
        category, crowd = _field(row, "category_id"), _field(row, "iscrowd")
        where = f"annotations[{i}] (id {one_line(number, 20)})"
        if not _is_whole(number):
            problems.append(f"annotations[{i}]: needs a whole number as id")
        elif number in seen:
            problems.append(f"{where}: the id is there twice")
        elif not _is_whole(image_number) or image_number not in images:
            problems.append(f"{where}: there is no good image with the id {one_line(image_number, 40)}")
        elif not _is_whole(category) or category not in label_of:
            problems.append(f"{where}: there is no category with the id {one_line(category, 40)}")
        elif crowd not in (None, 0, 1):
            problems.append(f"{where}: iscrowd is {one_line(crowd, 40)}, not 0 or 1")
        elif "bbox" in row and not _is_box(row["bbox"]):
            problems.append(
                f"{where}: bbox is not four finite numbers x, y, width, height: {one_line(row['bbox'], 60)}"
            )
        else:
            image = images[image_number]
            image.rows.append(where)
            image.shapes.append(row.get("segmentation"))
            image.labels.append(label_of[category])
            image.crowd.append(bool(crowd))
        if _is_whole(number):
            seen.add(number)


def _load(image: _Image, folder: Path, classes: tuple[str, ...]) -> Loaded:
    size = image.height, image.width
    faults: dict[int, str] = {}
    counts: dict[int, NDArray[np.int64]] = {}
    try:
        pixels, notes = read_image(inside(folder, image.file_name), size)
        for i, shape in enumerate(image.shapes):
            try:
                counts[i] = _counts(shape, *size)
            except HarnessError as error:
                faults[i] = str(error)
        masks, more = masks_of_counts(counts, *size)
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
    return Loaded(sample, tuple(f"{image.rows[i]} {where}: {what}" for i, what in sorted(faults.items())), notes)


def _counts(shape: Any, height: int, width: int) -> NDArray[np.int64]:
    """Column-major run lengths of a segmentation, background first. Raises HarnessError."""
    if isinstance(shape, list):
        return _counts_of_polygons(shape, height, width)
    if not isinstance(shape, dict):
        raise HarnessError("there is no segmentation")
    if shape.get("size") != [height, width]:
        raise HarnessError(f"the run lengths are of {one_line(shape.get('size'), 40)}, the image is {[height, width]}")
    counts = shape.get("counts")
    if isinstance(counts, str):
        return counts_of_text(counts, height, width)
    if (
        isinstance(counts, list)
        and set(map(type, counts)) == {int}
        and 0 <= min(counts) <= max(counts) <= height * width
    ):
        return np.asarray(counts, np.int64)
    raise HarnessError("counts are neither text nor a list of whole numbers that fit the image")


def _counts_of_polygons(polygons: list[Any], height: int, width: int) -> NDArray[np.int64]:
    """Rasterised as pycocotools does, so that areas are those other COCO tools give."""
    from pycocotools import mask as coco

    if not polygons:
        raise HarnessError("an empty mask: no polygon")
    for polygon in polygons:
        if not isinstance(polygon, list) or not set(map(type, polygon)) <= {int, float} or not _is_finite(polygon):
            raise HarnessError("a polygon is not a list of finite numbers")
        if len(polygon) % 2 or len(polygon) < 6:
            raise HarnessError(f"a polygon of {len(polygon)} numbers; three points, six numbers, are the least")
        # the rasteriser works along the outline, in and out of the image: bound its length
        if min(polygon) < -max(height, width) or max(polygon) > 2 * max(height, width):
            raise HarnessError("a polygon reaches far outside the image")
    runs = coco.frPyObjects([[float(v) for v in p] for p in polygons], height, width)
    whole = runs[0] if len(runs) == 1 else coco.merge(runs)
    return counts_of_text(whole["counts"].decode("ascii"), height, width)


def _field(row: Any, name: str) -> Any:
    return row.get(name) if isinstance(row, dict) else None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(numbers: list[float]) -> bool:
    try:
        return all(map(math.isfinite, numbers))
    except OverflowError:  # a whole number beyond what a float can be
        return False


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and set(map(type, value)) <= {int, float} and _is_finite(value)


USAGE = "coco:ANN.json,IMAGES_DIR"

SOURCE = DataSource(
    name="coco",
    usage=USAGE,
    help="polygons and run lengths; LIVECell's files are this",
    open=lambda arguments: Coco(SourceLocation.of(USAGE, arguments)),
)
