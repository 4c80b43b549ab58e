"""The Sartorius challenge's layout: train.csv with a row per cell, train/ID.png, train_semi_supervised/*.png."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from harness.contract import Instances, Sample
from harness.data.files import inside, stamp_of_files
from harness.data.images import SUFFIXES, images_in, read_image
from harness.data.pixels import MAX_UNTILED
from harness.data.source import DataSource, Loaded, SourceIndex, SourceLocation
from harness.errors import HarnessError, one_line
from harness.masks.run_lengths import masks_of_pairs

CLASSES = ("shsy5y", "astro", "cort")
COLUMNS = ("id", "annotation", "width", "height", "cell_type")

FIELD_LIMIT = 2**26
"""Characters of one mask at most; Python's own limit, 2^17, is too few for a large and ragged one."""

SPREADSHEET_CUT = 32_767
"""Characters that Excel keeps of a cell. The rest of a longer run-length text is lost without a word."""

CAUSES = {
    "pieces": "are the run lengths column by column, as in the table of DSB2018? This layout goes row by row",
    "shifted": "do the run lengths count pixels from 0? This layout counts from 1",
    "wrapped": "do the run lengths count pixels from 0? This layout counts from 1",
}
"""Likely causes of doubts in this layout."""


@dataclass
class _Image:
    """The rows of one image. first, rows: the lines of train.csv of the image and of each cell; the header is row 1.

    columns: what the first row has in the columns beyond COLUMNS.
    """

    image_id: str
    first: int
    height: int
    width: int
    group: str | None
    columns: dict[str, str]
    rows: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Sartorius:
    """A folder in that layout. Cell types beyond the three are classes too, sorted, if train.csv names any."""

    location: SourceLocation
    version: int = 3

    @property
    def folder(self) -> Path:
        return self.location.paths[0]

    def stamp(self) -> object:
        return stamp_of_files(self.folder / "train.csv", self.folder / "train")

    def unlabelled(self) -> tuple[Path, ...]:
        more = self.folder / "train_semi_supervised"
        return tuple(images_in(more).values()) if more.is_dir() else ()

    def group_of(self, path: Path) -> str | None:
        """The well of an unlabelled image, where its name tells it."""
        return known_well(path.stem)

    def index(self) -> SourceIndex:
        images, problems = self._rows()
        types = sorted({t for image in images for t in image.types})
        classes = CLASSES if set(types) <= set(CLASSES) else tuple(types)
        train = self.folder / "train"
        files = images_in(train) if train.is_dir() else {}
        names = _names_of_images(images, files)
        unnamed = set(files) - set(names.values())
        notes = (f"no row in train.csv, left out: {len(unnamed)} images of train/",) if unnamed else ()
        images.sort(key=lambda image: image.image_id)
        entries = [partial(self._load, image, names[image.image_id], classes) for image in images]
        return SourceIndex(classes, entries, tuple(problems), notes, CAUSES)

    def _rows(self) -> tuple[list[_Image], list[str]]:
        csv.field_size_limit(max(FIELD_LIMIT, csv.field_size_limit()))
        try:
            with (self.folder / "train.csv").open(encoding="utf-8-sig", newline="") as file:
                return _images_of(file)
        except FileNotFoundError as error:
            raise HarnessError(f"there is no train.csv in the folder {self.folder.name}") from error
        except OSError as error:
            raise HarnessError(f"train.csv cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise HarnessError("train.csv is not text in UTF-8; save it as CSV in UTF-8") from error
        except csv.Error as error:
            raise HarnessError(f"train.csv is not a CSV file: {one_line(error)}") from error

    def _load(self, image: _Image, name: str, classes: tuple[str, ...]) -> Loaded:
        try:
            path = inside(self.folder, f"train/{name}")
            pixels, notes = read_image(path, (image.height, image.width))
            masks, faults = masks_of_pairs(image.texts, image.height, image.width)
        except HarnessError as error:
            return Loaded(None, (f"train/{name} (train.csv row {image.first}): {error}",))
        labels = np.asarray([classes.index(t) for i, t in enumerate(image.types) if i not in faults], np.int64)
        sample = Sample(
            image.image_id,
            pixels,
            Instances.of_masks(masks, labels),
            Counter(image.types).most_common(1)[0][0] if image.types else None,
            image.group,
        )
        where = f"(image {image.image_id})"
        problems = tuple(f"train.csv row {image.rows[i]} {where}: {what}" for i, what in sorted(faults.items()))
        return Loaded(sample, problems, notes, columns=image.columns)


def _names_of_images(images: Iterable[_Image], files: Mapping[str, Path]) -> dict[str, str]:
    """The file name in train/ of each image: ID.png, or with another suffix where only that is there."""
    by_stem: dict[str, str] = {}
    for name, path in files.items():
        by_stem.setdefault(path.stem, name)
    usual = ((image.image_id, f"{image.image_id}.png") for image in images)
    return {image_id: name if name in files else by_stem.get(image_id, name) for image_id, name in usual}


def _without_suffix(name: str) -> str:
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


def _images_of(lines: Iterable[str]) -> tuple[list[_Image], list[str]]:
    """What the rows say, and what is wrong with them. Raises HarnessError where a column is missing."""
    # a csv.DictReader would take twice as long
    lines = iter(lines)
    first = next(lines, "")
    separator = max(",;\t", key=first.count)
    reader = csv.reader(chain([first], lines), delimiter=separator)
    header = [name.strip().lower() for name in next(reader, [])]
    column_of = {name: i for i, name in enumerate(header)}
    missing = [c for c in COLUMNS if c not in column_of]
    if missing:
        raise HarnessError(f"train.csv has no column {', '.join(missing)}")
    columns = [column_of[c] for c in COLUMNS]
    which, text, width, height, kind = columns
    images: dict[str, _Image] = {}
    problems: list[str] = []
    image, of_image = None, ("", "", "")
    for row in reader:
        # nearly always the next cell of the same image: taken apart like the first, it would take twice as long
        same = len(row) == len(header) and (row[which], row[width], row[height]) == of_image
        if image is not None and same and row[kind] in CLASSES and len(row[text]) != SPREADSHEET_CUT:
            if row[text].strip():
                image.rows.append(reader.line_num)
                image.texts.append(row[text])
                image.types.append(row[kind])
        elif row:
            try:
                image = _take(row, header, columns, reader.line_num, images)
                of_image = row[which], row[width], row[height]
            except HarnessError as error:
                problems.append(f"train.csv row {reader.line_num}: {error}")
    return list(images.values()), problems


def _take(row: list[str], header: list[str], columns: list[int], line: int, images: dict[str, _Image]) -> _Image:
    """Add a row to its image and return the image. columns: where COLUMNS stand. Raises HarnessError on a bad row."""
    whole = max(columns) < len(row) <= len(header)
    image_id, text, width, height, cell_type = [row[column] for column in columns] if whole else [""] * len(COLUMNS)
    if len(text) == SPREADSHEET_CUT:
        raise HarnessError(
            f"an annotation of exactly {SPREADSHEET_CUT:,} characters, where spreadsheets cut a cell off; "
            "take the file as it was before"
        )
    image_id, text, cell_type = _without_suffix(image_id.strip()), text.strip(), cell_type.strip()
    width, height = (re.sub(r"\.0+$", "", side.strip()) for side in (width, height))  # as pandas writes them
    cell_type = cell_type.lower() if cell_type.lower() in CLASSES else cell_type
    if not image_id or (text and not cell_type):
        raise HarnessError("a field is missing or there is one too many")
    image = images.get(image_id)
    if image is None:
        facts = dict(zip(header, row, strict=False))
        image = images[image_id] = _new_image(image_id, line, (height, width), facts)
    elif (height, width) != (str(image.height), str(image.width)):
        size = f"{image.height}x{image.width}"
        raise HarnessError(f"height and width are not the {size} of row {image.first}, which is of the same image")
    if not text:  # how a table says that an image has no cells
        return image
    image.rows.append(line)
    image.texts.append(text)
    image.types.append(cell_type if cell_type in CLASSES else one_line(cell_type, 60))
    return image


def _new_image(image_id: str, line: int, sides: tuple[str, str], row: dict[str, str]) -> _Image:
    """line: of its first row. sides: height and width, as written."""
    if not re.fullmatch(r"[\w.\- ]{1,200}", image_id) or image_id.startswith("."):
        raise HarnessError(f"the id {one_line(image_id)!r} is not a plain file name")
    if not all(re.fullmatch(r"[1-9][0-9]{0,5}", side) for side in sides):
        raise HarnessError(f"height and width are {one_line(sides[0])!r} and {one_line(sides[1])!r}, not whole numbers")
    height, width = int(sides[0]), int(sides[1])
    if height * width > MAX_UNTILED:
        raise HarnessError(f"an image of {height}x{width} is too large; at most {MAX_UNTILED} pixels are read")
    columns = {name: one_line(value) for name, value in row.items() if name and name not in COLUMNS and value.strip()}
    return _Image(image_id, line, height, width, plate_and_well(row), columns)


def plate_and_well(row: dict[str, str]) -> str | None:
    """What keeps images of one well together: None where sample_id is not filled.

    Kaggle writes "shsy5y[diff]_E10-4_Vessel-361_Ph_3": type, well and field in it, vessel, phase contrast, number.
    Images of one well of one vessel show the same culture, on whatever day. Another sample_id stands for itself,
    together with the plate_time where that is filled.
    """
    sample = (row.get("sample_id") or "").strip()
    if not sample:
        return None
    plate = (row.get("plate_time") or "").strip()
    return known_well(sample) or one_line(f"{plate} {sample}".strip())


def known_well(sample: str) -> str | None:
    """Vessel and well in a sample's name as Kaggle writes it; None in another."""
    known = re.match(r"(?P<type>.+?)_(?P<well>[A-Za-z]{1,2}[0-9]{1,2})(?:-[0-9]+)?_(?P<vessel>Vessel-[^_]+)", sample)
    return f"{known['vessel']} {known['well'].upper()}" if known else None


USAGE = "sartorius:DIR"

SOURCE = DataSource(
    name="sartorius",
    usage=USAGE,
    help="Kaggle's layout: train.csv, train/, train_semi_supervised/",
    open=lambda arguments: Sartorius(SourceLocation.of(USAGE, arguments)),
    guess=lambda folder: f"sartorius:{folder}" if (folder / "train.csv").is_file() else None,
)
