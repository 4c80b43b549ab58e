"""The parts of a data set, as image ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from harness.data.dataset import Dataset
from harness.errors import HarnessError

PARTS = ("train", "calibration", "validation")


@dataclass(frozen=True)
class Splits:
    """Image ids of each part, sorted.

    fingerprint: SHA-256 (hexadecimal) over all three parts, as they were before any labels were hidden.
    unlabelled: training images whose labels are not used (`--labels`); they are not in `train`.
    """

    train: tuple[str, ...]
    calibration: tuple[str, ...]
    validation: tuple[str, ...]
    fingerprint: str
    unlabelled: tuple[str, ...] = ()

    @staticmethod
    def of(train: Iterable[str], calibration: Iterable[str], validation: Iterable[str]) -> Splits:
        """The parts with these images, in any order."""
        parts = tuple(sorted(train)), tuple(sorted(calibration)), tuple(sorted(validation))
        return Splits(*parts, fingerprint=hashlib.sha256(json.dumps(parts).encode()).hexdigest())

    def check_annotated(self, dataset: Dataset) -> None:
        """Raise HarnessError where a part has no image with a cell."""
        cells = dict(zip(dataset.ids, dataset.cells_per_image, strict=True))
        for name in PARTS:
            ids: tuple[str, ...] = getattr(self, name)
            if not any(cells[image_id] for image_id in ids):
                what = f"none of its {len(ids)} images has a cell" if ids else "it has no image"
                raise HarnessError(f"{dataset.public_source}: nothing for the part {name!r}: {what}")
