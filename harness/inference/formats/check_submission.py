"""Checks a submission file by Kaggle's rules."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from harness.data.readers.sartorius import FIELD_LIMIT
from harness.errors import HarnessError, nearest, one_line
from harness.masks.crops import CropMasks
from harness.masks.run_lengths import masks_of_pairs

HEADER = ["id", "predicted"]


def check_submission(path: Path, sizes: Mapping[str, tuple[int, int]]) -> list[str]:
    """All that is wrong with a file, a line each, naming the row (the header is row 1); empty where nothing is.

    sizes: height and width of every image that is to be predicted, by id. Every image has a row, and no other has;
    start and length come in pairs, sorted, inside the image; no pixel is in two masks of an image; an empty prediction
    stands alone. Raises HarnessError where the file cannot be read at all.
    """
    header, *rows = _rows(path)
    if header[1] != HEADER:
        return [f"row 1: the columns are {one_line(','.join(header[1]))!r}; they must be 'id,predicted'"]
    problems: list[tuple[int, str]] = []
    by_image: dict[str, dict[int, str]] = {}
    for number, fields in rows:
        if len(fields) != 2:
            problems.append((number, f"{len(fields)} fields; a row is an id, a comma and a mask"))
        elif fields[0] not in sizes:
            problems.append((number, f"no image has the id {one_line(fields[0], 60)!r}{nearest(fields[0], sizes)}"))
        else:
            by_image.setdefault(fields[0], {})[number] = fields[1].strip()
    for image_id, texts in by_image.items():
        problems += [(row, f"image {image_id}: {what}") for row, what in _image_problems(texts, *sizes[image_id])]
    missing = [f"no row for image {name}; one without cells needs '{name},'" for name in sizes if name not in by_image]
    return [f"row {row}: {what}" for row, what in sorted(problems)] + missing


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """The fields of every row, the header first."""
    csv.field_size_limit(max(FIELD_LIMIT, csv.field_size_limit()))
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, fields) for fields in reader if fields]
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise HarnessError(f"{path}: not a CSV file: {one_line(error)}") from error
    if not rows:
        raise HarnessError(f"{path}: an empty file; the first row must be 'id,predicted'")
    return rows


def _image_problems(texts: Mapping[int, str], height: int, width: int) -> list[tuple[int, str]]:
    """What is wrong with the rows of one image, by row."""
    filled = {row: text for row, text in texts.items() if text}
    problems = [
        (row, "an empty prediction beside other rows of the image; it must stand alone")
        for row, text in texts.items()
        if not text and len(texts) > 1
    ]
    try:
        masks, faults = masks_of_pairs(list(filled.values()), height, width)
    except HarnessError as error:
        return [*problems, (next(iter(filled)), str(error))]
    rows = list(filled)
    problems += [(rows[i], what) for i, what in faults.items()]
    return problems + _overlaps(masks, [row for i, row in enumerate(rows) if i not in faults], width)


def _overlaps(masks: CropMasks, rows: list[int], width: int) -> list[tuple[int, str]]:
    """For each row that takes pixels of an earlier one: how many, and of which first."""
    index, owner = masks.set_pixels(width)
    order = np.argsort(index, kind="stable")
    index, owner = index[order], owner[order]
    again = np.flatnonzero(index[1:] == index[:-1]) + 1
    problems = []
    for mask in np.unique(owner[again]).tolist():
        mine = again[owner[again] == mask]
        earlier = rows[int(owner[mine - 1].min())]
        problems.append((rows[mask], f"{len(mine)} of its pixels belong to a mask before it, that of row {earlier}"))
    return problems
