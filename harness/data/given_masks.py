"""Masks that another tool made for known images: a folder of label images, a COCO file, or a Kaggle submission."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Predictions
from harness.data.export import file_stems
from harness.data.images import images_in, read_labels
from harness.data.label_images import cells_of
from harness.data.pairing import image_stem, stem_of, without_labels
from harness.data.readers.sartorius import FIELD_LIMIT
from harness.data.segmentations import id_key, segmentation_counts
from harness.errors import HarnessError, one_line
from harness.masks.crops import CropMasks
from harness.masks.run_lengths import masks_of_counts, masks_of_pairs

NAMED = 5
"""Problems that are named in one message; others are counted."""


@dataclass
class GivenMasks:
    """Masks by image id.

    Attributes:
        found: every image that was asked for. Masks without a score have the score 1.
        scored: whether the masks have scores.
        classed: whether they have classes of the data set.
        sha256: over the files, in hexadecimal.
        notes: what was left out, whole sentences.
    """

    found: dict[str, Predictions]
    scored: bool
    classed: bool
    sha256: str
    notes: list[str] = field(default_factory=list)


class _Images:
    """The images that masks are wanted for, and what is wrong with those that came."""

    def __init__(self, sizes: Mapping[str, tuple[int, int]], all_ids: Sequence[str]) -> None:
        stems = file_stems(all_ids)
        self.sizes = sizes
        self._names = {stems[i].casefold(): i for i in sizes} | {i.casefold(): i for i in sizes}
        self.found: dict[str, Predictions] = {}
        self.problems: list[str] = []
        self.unknown: list[str] = []

    def id_of(self, name: str) -> str | None:
        """The image of a file's or an entry's name; None where there is none."""
        for stem in (name, image_stem(name)):
            if stem.casefold() in self._names:
                return self._names[stem.casefold()]
        return None

    def add(
        self, image_id: str, masks: CropMasks, scores: Sequence[float] | None, labels: Sequence[int] | None
    ) -> None:
        n = len(masks)
        self.found[image_id] = Predictions(
            self.sizes[image_id],
            masks,
            np.ones(n, np.float32) if scores is None else np.asarray(scores, np.float32),
            np.zeros(n, np.int64) if labels is None else np.asarray(labels, np.int64),
        )

    def finish(self, what: str, missing_are_empty: bool) -> list[str]:
        """Notes on what was left out or added. Raises HarnessError where an image is missing or wrong."""
        missing = [image_id for image_id in self.sizes if image_id not in self.found]
        notes = []
        if missing and missing_are_empty and not self.problems:
            for image_id in missing:
                self.add(image_id, CropMasks.empty(), None, None)
            notes.append(f"Images without masks, taken as without cells: {_named(missing)}.")
        elif missing:
            self.problems.append(f"no masks for {_named(missing)} (--missing-are-empty takes them as without cells)")
        if self.problems and self.unknown:
            self.problems.append(f"of no image that is wanted: {_named(self.unknown)}")
        elif self.unknown:
            notes.append(f"Of no image that is wanted, left out: {_named(self.unknown)}.")
        if self.problems:
            more = f" (and {len(self.problems) - NAMED} more)" if len(self.problems) > NAMED else ""
            raise HarnessError(f"{what}: {'; '.join(self.problems[:NAMED])}{more}")
        self.found = {image_id: self.found[image_id] for image_id in self.sizes}
        return notes


def read_given_masks(
    path: Path,
    sizes: Mapping[str, tuple[int, int]],
    all_ids: Sequence[str],
    classes: Sequence[str],
    missing_are_empty: bool = False,
) -> GivenMasks:
    """Masks for every image of `sizes`.

    Args:
        path: a folder of label images, a COCO file (.json) or a Kaggle submission (.csv). Label images are named as
            the images, with or without an ending such as _masks. A COCO file names images by file name; a bare list of
            COCO results by the image's id, or by its number in the file that `export_split` wrote.
        sizes: height and width by image id, in the order of the split.
        all_ids: ids of the whole data set, from which the names of exported files follow.
        classes: names, in the order of labels.
        missing_are_empty: an image without masks counts as one without cells.

    Raises:
        HarnessError: naming what is missing, doubled, of another size, unknown or unreadable.
    """
    images = _Images(sizes, all_ids)
    if path.is_dir():
        sha256 = _read_folder(path, images)
        scored = classed = False
    elif path.suffix.lower() == ".json" and path.is_file():
        sha256, scored, classed = _read_coco(path, images, classes)
    elif path.suffix.lower() == ".csv" and path.is_file():
        sha256 = _read_submission(path, images)
        scored = classed = False
    else:
        raise HarnessError(f"{path}: give a folder of label images, a COCO file .json or a submission .csv")
    notes = images.finish(path.name, missing_are_empty)
    return GivenMasks(images.found, scored, classed or len(classes) == 1, sha256, notes)


# ------------------------------------------------------------------------------------------------- label images


def _read_folder(folder: Path, images: _Images) -> str:
    files = list(images_in(folder).values())
    if not files:
        raise HarnessError(f"{folder} holds no label image; give the folder that the tool wrote its masks into")
    labels = without_labels(files)[1]
    taken = [path for path in labels if image_stem(stem_of(path)) != stem_of(path)] or files
    owners: dict[str, str] = {}
    digest = hashlib.sha256()
    for path in taken:
        image_id = images.id_of(stem_of(path))
        if image_id is None:
            images.unknown.append(path.name)
            continue
        if image_id in owners:
            images.problems.append(f"{image_id} is there twice: {owners[image_id]} and {one_line(path.name)}")
            continue
        owners[image_id] = one_line(path.name)
        digest.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
        try:
            masks = cells_of(_labels_of_size(path, images.sizes[image_id]))
        except HarnessError as error:
            images.problems.append(f"{one_line(path.name)}: {error}")
            masks = CropMasks.empty()
        images.add(image_id, masks, None, None)
    return digest.hexdigest()


def _labels_of_size(path: Path, size: tuple[int, int]) -> NDArray[np.integer]:
    labels = read_labels(path)
    if labels.shape != size:
        turned = "; is it turned?" if labels.shape == size[::-1] else ""
        high, wide = labels.shape
        raise HarnessError(f"is {high}x{wide} (height x width), the image {size[0]}x{size[1]}{turned}")
    return labels


# --------------------------------------------------------------------------------------------------------- COCO


def _read_coco(path: Path, images: _Images, classes: Sequence[str]) -> tuple[str, bool, bool]:
    data = path.read_bytes()
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{path.name} is not JSON: {one_line(error)}") from error
    rows = whole.get("annotations") if isinstance(whole, dict) else whole
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise HarnessError(f"{path.name} holds neither COCO annotations nor a list of COCO results")
    owner_of = _coco_images(whole, images)
    label_of = _coco_labels(whole, rows, classes, images)
    by_image: dict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    if isinstance(whole, dict):  # an image that is listed without annotations has no cells
        by_image.update({image_id: [] for image_id in owner_of.values()})
    unknown = set()
    for number, row in enumerate(rows):
        image_id = owner_of.get(id_key(row.get("image_id")))
        if image_id is None:
            unknown.add(str(row.get("image_id")))
        else:
            by_image[image_id].append((number, row))
    images.unknown += sorted(unknown - set(images.unknown))
    scores = [row.get("score") for row in rows]
    scored = any(score is not None for score in scores)
    if scored and not all(type(score) in (int, float) and 0 <= score <= 1 for score in scores):
        images.problems.append("some masks have a score from 0 to 1 and others do not; give all or none a score")
        scored = False
    for image_id, entries in by_image.items():
        _add_coco_image(image_id, entries, images, scored, label_of)
    return hashlib.sha256(data).hexdigest(), scored, label_of is not None


def _coco_images(whole: Any, images: _Images) -> dict[Any, str]:
    """Image id by the id that annotations name."""
    if not isinstance(whole, dict):
        by_number: dict[Any, str] = dict(enumerate(images.sizes, 1))
        return by_number | {id_key(image_id): image_id for image_id in images.sizes}
    owner_of: dict[Any, str] = {}
    table = whole.get("images")
    for row in table if isinstance(table, list) else []:
        name = row.get("file_name") if isinstance(row, dict) else None
        if not isinstance(name, str):
            continue
        image_id = images.id_of(stem_of(Path(PurePosixPath(name.replace("\\", "/")).name)))
        size = (id_key(row.get("height")), id_key(row.get("width")))
        if image_id is None:
            images.unknown.append(one_line(name))
        elif image_id in owner_of.values():
            images.problems.append(f"{image_id} is there twice")
        else:
            if None not in size and size != images.sizes[image_id]:
                high, wide = images.sizes[image_id]
                images.problems.append(f"{one_line(name)} is {size[0]}x{size[1]} there, the image {high}x{wide}")
            owner_of[id_key(row.get("id"))] = image_id
    return owner_of


def _coco_labels(
    whole: Any, rows: Iterable[Mapping[str, Any]], classes: Sequence[str], images: _Images
) -> dict[Any, int] | None:
    """Label by category id; by name where there are names. None where the masks have no classes."""
    used = {id_key(row.get("category_id")) for row in rows}
    if used <= {None} or len(classes) == 1:
        return None
    table = whole.get("categories") if isinstance(whole, dict) else None
    if not isinstance(table, list):
        names: dict[Any, str] = dict(enumerate(classes, 1))
    else:
        names = {id_key(row.get("id")): str(row.get("name")) for row in table if isinstance(row, dict)}
    labels = {key: list(classes).index(name) for key, name in names.items() if name in classes}
    lacking = sorted(str(names.get(key, key)) for key in used if key not in labels)
    if lacking:
        images.problems.append(f"classes that the data do not have: {_named(lacking)}; they have {', '.join(classes)}")
        return None
    return labels


def _add_coco_image(
    image_id: str,
    entries: Sequence[tuple[int, Mapping[str, Any]]],
    images: _Images,
    scored: bool,
    label_of: Mapping[Any, int] | None,
) -> None:
    height, width = images.sizes[image_id]
    counts, faults = {}, {}
    for i, (_, row) in enumerate(entries):
        try:
            counts[i] = segmentation_counts(row.get("segmentation"), height, width)[0]
        except HarnessError as error:
            faults[i] = str(error)
    try:
        masks, more = masks_of_counts(counts, height, width)
    except HarnessError as error:
        images.problems.append(f"{image_id}: {error}")
        return
    faults |= more
    images.problems += [f"annotation {entries[i][0]} (image {image_id}): {what}" for i, what in sorted(faults.items())]
    good = [row for i, (_, row) in enumerate(entries) if i not in faults]
    images.add(
        image_id,
        masks,
        [float(row["score"]) for row in good] if scored else None,
        [label_of[id_key(row.get("category_id"))] for row in good] if label_of else None,
    )


# --------------------------------------------------------------------------------------------------- submission


def _read_submission(path: Path, images: _Images) -> str:
    csv.field_size_limit(max(FIELD_LIMIT, csv.field_size_limit()))
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = [row for row in csv.reader(file) if row] or [[]]
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise HarnessError(f"{path.name}: not a CSV file: {one_line(error)}") from error
    if header != ["id", "predicted"]:
        raise HarnessError(f"{path.name}: the columns are {one_line(','.join(header))!r}; they must be 'id,predicted'")
    texts: dict[str, list[str]] = defaultdict(list)
    for number, row in enumerate(rows, 2):
        if len(row) != 2:
            images.problems.append(f"row {number}: {len(row)} fields; a row is an id, a comma and a mask")
            continue
        image_id = images.id_of(row[0].strip().removesuffix(".png"))
        if image_id is None:
            images.unknown.append(row[0])
        else:
            texts[image_id] += [row[1]] if row[1].strip() else []
    for image_id, inside in texts.items():
        try:
            masks, faults = masks_of_pairs(inside, *images.sizes[image_id]) if inside else (CropMasks.empty(), {})
        except HarnessError as error:
            images.problems.append(f"{image_id}: {error}")
            continue
        images.problems += [f"mask {i + 1} of {image_id}: {what}" for i, what in sorted(faults.items())]
        images.add(image_id, masks, None, None)
    images.unknown = list(dict.fromkeys(images.unknown))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _named(names: Sequence[str]) -> str:
    """The first names, and how many more."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(one_line(name, 60) for name in names[:NAMED]) + more
