"""A table of images that the user wrote: which part each is in, and whatever else is known of it.

A CSV file has a header with the column `image`; a column `part` says train, calibration or validation, and is empty
for an image that is not used. Further columns can be named by --group-by and --hold-out. A JSON file is a list of such
rows, an object from image to part, or an object from part to a list of images.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness.data.splits.parts import PARTS
from harness.errors import HarnessError, nearest, one_line

SIZE_LIMIT = 2**28
"""Bytes of a file at most."""

IMAGE, PART = "image", "part"


@dataclass(frozen=True)
class ImageTable:
    """name: of the file. rows: image id to column to value; a column with an empty value is left out."""

    name: str
    rows: Mapping[str, Mapping[str, str]]

    @property
    def columns(self) -> list[str]:
        """Names of the columns other than `image` and `part`."""
        return sorted({column for row in self.rows.values() for column in row} - {PART})

    def parts(self) -> dict[str, list[str]]:
        """Image ids by part; empty where the file says nothing of parts."""
        found: dict[str, list[str]] = {}
        for image_id, row in self.rows.items():
            if PART in row:
                found.setdefault(row[PART], []).append(image_id)
        return found


def read_image_table(path: Path, ids: Sequence[str]) -> ImageTable:
    """The table in a CSV or JSON file, for the images with these ids.

    An image may be named by its id, or by its file with folder and ending.

    Raises:
        HarnessError: the file cannot be read, an image is not there or is there twice, or a part has another name.
    """
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise HarnessError(f"--split {path.name}: more than {SIZE_LIMIT:,} bytes are not read")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"--split {path}: cannot be read: {one_line(error)}") from error
    rows = _json_rows(text, path.name) if path.suffix.lower() == ".json" else _csv_rows(text, path.name)
    known, by_stem = set(ids), _by_stem(ids)
    found: dict[str, dict[str, str]] = {}
    for where, row in rows:
        typed = row.pop(IMAGE, "")
        image_id = typed if typed in known else _only_match(typed, by_stem, where)
        if image_id in found:
            raise HarnessError(f"{where}: image {image_id!r} is there twice; name each image once")
        part = row.get(PART, "")
        if part and part not in PARTS:
            raise HarnessError(f"{where}: no part {part!r}{nearest(part, PARTS)}; there are: {', '.join(PARTS)}")
        found[image_id] = {name: value for name, value in row.items() if value}
    if not found:
        raise HarnessError(f"--split {path.name} names no image")
    return ImageTable(path.name, found)


def _by_stem(ids: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for image_id in ids:
        found.setdefault(_stem(image_id), []).append(image_id)
        if PurePosixPath(image_id).name != _stem(image_id):
            found.setdefault(PurePosixPath(image_id).name, []).append(image_id)
    return found


def _stem(name: str) -> str:
    """The last part of a name, without the ending of an image file."""
    last = PurePosixPath(name.replace("\\", "/")).name
    stem, dot, ending = last.rpartition(".")
    is_image = dot and ending.lower() in ("png", "tif", "tiff", "jpg", "jpeg", "bmp")
    return _stem(stem) if is_image and stem.lower().endswith(".ome") else stem if is_image else last


def _only_match(typed: str, by_stem: Mapping[str, list[str]], where: str) -> str:
    matches = by_stem.get(_stem(typed), [])
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise HarnessError(f"{where}: {one_line(typed)!r} may be {' or '.join(matches[:3])}; write the whole name")
    raise HarnessError(f"{where}: the data have no image {one_line(typed)!r}{nearest(_stem(typed), list(by_stem))}")


def _csv_rows(text: str, name: str) -> Iterable[tuple[str, dict[str, str]]]:
    lines = text.splitlines()
    first = lines[0] if lines else ""
    try:
        reader = csv.reader(lines, delimiter=max(",;\t", key=first.count))
        header = [column.strip() for column in next(reader, [])]
        if IMAGE not in header:
            raise HarnessError(f"--split {name} has no column {IMAGE!r}; write the header {IMAGE},{PART}")
        for row in reader:
            if any(value.strip() for value in row):
                values = (value.strip() for value in row)
                yield f"--split {name}, line {reader.line_num}", dict(zip(header, values, strict=False))
    except csv.Error as error:
        raise HarnessError(f"--split {name} is not CSV: {one_line(error)}") from error


def _json_rows(text: str, name: str) -> Iterable[tuple[str, dict[str, str]]]:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"--split {name} is not JSON: {one_line(error)}") from error
    for i, row in enumerate(_plain_rows(whole)):
        where = f"--split {name}, entry {i + 1}"
        if not isinstance(row, dict) or not all(isinstance(v, str | int | float) or v is None for v in row.values()):
            raise HarnessError(f'{where}: write {{"image": NAME, "part": PART}}, or parts with lists of images')
        yield where, {column: "" if value is None else str(value).strip() for column, value in row.items()}


def _plain_rows(whole: Any) -> Iterable[Any]:
    if isinstance(whole, list):
        return whole
    if not isinstance(whole, dict):
        return [whole]
    if all(isinstance(images, list) for images in whole.values()):
        return [{IMAGE: image, PART: part} for part, images in whole.items() for image in images]
    return [{IMAGE: image, PART: part} for image, part in whole.items()]
