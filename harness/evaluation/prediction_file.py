"""Predictions on disk: one gzipped JSON file a trial, raw, before any rule. The reader trusts nothing in it.

    {"version": 1,
     "categories": [{"id": 1, "name": "cort"}, ...],
     "images": [{"id": "0140b3c8f445", "height": 520, "width": 704, "split": "validation"}, ...],
     "predictions": [{"image_id", "category_id", "score", "segmentation": {"size", "counts"}}, ...]}

`predictions` is a COCO results array; label k has category id k + 1.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.contract import Predictions
from harness.errors import HarnessError
from harness.fileio import write_bytes_atomic
from harness.masks.rle import from_rle, to_rle

PREDICTIONS = "predictions.json.gz"
"""Its name in a trial's folder."""

VERSION = 1
TEXT_LIMIT = 2**30
"""Bytes of JSON that are unpacked at most."""

RATIO_LIMIT = 100
"""How many times longer than the file the JSON may be; real ones are about four times as long."""

IMAGE_LIMIT = 2**28
"""Pixels of one image at most."""


@dataclass(frozen=True)
class StoredPredictions:
    """classes: names in label order. splits: "calibration" and "validation", image id to predictions."""

    classes: tuple[str, ...]
    splits: Mapping[str, StoredSplit]


@dataclass(slots=True, eq=False)
class _Image:
    """One image's predictions, still packed."""

    size: tuple[int, int]
    counts: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)


class StoredSplit(Mapping[str, Predictions]):
    """Image id to predictions, in the order written. Masks are unpacked when an image is asked for, and not kept.

    Asking raises HarnessError where the image's run lengths are not such.
    """

    def __init__(self, path: Path, images: Mapping[str, _Image]) -> None:
        self._path, self._images = path, images

    def __getitem__(self, image_id: str) -> Predictions:
        image = self._images[image_id]
        try:
            masks = from_rle(image.counts, *image.size)
        except HarnessError as error:
            raise HarnessError(f"{self._path}: image {image_id[:40]!r}: {error}") from error
        return Predictions(image.size, masks, np.asarray(image.scores, np.float32), np.asarray(image.labels, np.int64))

    def __iter__(self) -> Iterator[str]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)


def write_predictions(path: Path, splits: Mapping[str, Mapping[str, Predictions]], classes: Sequence[str]) -> None:
    """Write predictions whole or not at all; the same predictions give the same bytes. Raises StorageError."""
    images, entries = [], []
    for split, by_image in splits.items():
        for image_id, found in by_image.items():
            height, width = found.size
            images.append({"id": image_id, "height": height, "width": width, "split": split})
            entries += [
                {
                    "image_id": image_id,
                    "category_id": label + 1,
                    # the shortest digits that give the same float32
                    "score": float(str(score)),
                    "segmentation": {"size": [height, width], "counts": counts},
                }
                for label, score, counts in zip(
                    found.labels.tolist(), found.scores, to_rle(found.masks, height, width), strict=True
                )
            ]
    whole = {
        "version": VERSION,
        "categories": [{"id": label + 1, "name": name} for label, name in enumerate(classes)],
        "images": images,
        "predictions": entries,
    }
    text = json.dumps(whole, separators=(",", ":"), allow_nan=False)
    # level 6 would take four times as long for a file an eighth smaller
    packed = gzip.compress(text.encode(), compresslevel=1, mtime=0)
    if len(text) > RATIO_LIMIT * len(packed):
        # a model with the same output for every image: the reader would refuse such a compressible file
        packed = gzip.compress(text.encode(), compresslevel=0, mtime=0)
    write_bytes_atomic(path, packed)


def read_predictions(path: Path) -> StoredPredictions:
    """The predictions in a file. Raises HarnessError on anything that `write_predictions` would not write."""
    whole = _decompressed(path)
    try:
        return _parsed_predictions(whole, path)
    except HarnessError as error:
        raise HarnessError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise HarnessError(f"{path}: not a file of predictions ({type(error).__name__}: {str(error)[:80]})") from error


def _decompressed(path: Path) -> Any:
    if not path.is_file():
        raise HarnessError(f"no file {path}; `run` writes it when a trial has been predicted")
    try:
        limit = min(TEXT_LIMIT, RATIO_LIMIT * path.stat().st_size)
        with gzip.open(path) as file:
            text = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise HarnessError(f"{path}: cannot be read: {error}") from error
    if len(text) > limit:
        raise HarnessError(f"{path}: unpacks to more than {limit:,} bytes, which are not read")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{path}: not JSON inside: {type(error).__name__}") from error


def _parsed_predictions(whole: Any, path: Path) -> StoredPredictions:
    _require(whole["version"] == VERSION, f"not predictions of version {VERSION}, which this harness reads")
    classes = tuple(entry["name"] for entry in whole["categories"])
    _require(all(isinstance(name, str) for name in classes), "a category's name is not text")
    _require(
        [entry["id"] for entry in whole["categories"]] == list(range(1, len(classes) + 1)), "ids are not 1, 2, ..."
    )

    images: dict[str, _Image] = {}
    splits: dict[str, dict[str, _Image]] = defaultdict(dict)
    for image in whole["images"]:
        image_id, split, size = image["id"], image["split"], (image["height"], image["width"])
        _require(isinstance(image_id, str) and isinstance(split, str), "an image's id or split is not text")
        _require(image_id not in images, f"image {image_id[:40]!r} is there twice")
        _require(all(type(side) is int and side > 0 for side in size), f"image {image_id[:40]!r} has no size")
        _require(size[0] * size[1] <= IMAGE_LIMIT, f"image {image_id[:40]!r} is larger than {IMAGE_LIMIT:,} pixels")
        images[image_id] = splits[split][image_id] = _Image(size)

    for number, entry in enumerate(whole["predictions"]):
        label, score, segmentation = entry["category_id"], entry["score"], entry["segmentation"]
        _require(entry["image_id"] in images, f"prediction {number} is of an image that is not listed")
        _require(type(label) is int and 0 < label <= len(classes), f"prediction {number} is of no category")
        _require(type(score) in (int, float) and 0 <= score <= 1, f"prediction {number} has a score outside 0..1")
        image = images[entry["image_id"]]
        _require(tuple(segmentation["size"]) == image.size, f"prediction {number} is not of its image's size")
        _require(isinstance(segmentation["counts"], str), f"prediction {number} has no compressed run lengths")
        image.counts.append(segmentation["counts"])
        image.scores.append(score)
        image.labels.append(label - 1)
    return StoredPredictions(classes, {split: StoredSplit(path, inside) for split, inside in splits.items()})


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise HarnessError(otherwise)
