"""Several sources as one data set: one to train on, and others that are a part each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.contract import Sample
from harness.data.dataset import Dataset
from harness.data.doubts.same_pictures import alike_pictures, has_same_detail, picture_of, same_pictures
from harness.errors import HarnessError


class CombinedDataset(Dataset):
    """The images of several data sets. Classes are those of the first one; the others' are matched by name.

    Two images of one name are told apart by the part before the name of the later one, as in "validation/a01".
    """

    def __init__(self, train: Dataset, others: Sequence[tuple[str, Dataset]]) -> None:
        """others: part and data set.

        Raises:
            HarnessError: a class of another data set is not one of the first, or two parts have an image in common.
        """
        self._members = [("train", train), *others]
        self._labels = [_labels_by_name(train, other) for _, other in self._members]
        self._index: dict[str, int] = {}
        self._places: list[tuple[int, int]] = []
        for number, (part, member) in enumerate(self._members):
            for i, image_id in enumerate(member.ids):
                self._index[self._free_name(part, image_id, member, i)] = len(self._places)
                self._places.append((number, i))
        self.source, self.unlabelled, self.classes = train.source, train.unlabelled, train.classes
        self.public_source = "; ".join(
            [train.public_source, *(f"{part} {other.public_source}" for part, other in others)]
        )
        members = [member for _, member in self._members]
        self.ids = tuple(self._index)
        self.cell_types = tuple(kind for member in members for kind in member.cell_types)
        self.groups = tuple(group for member in members for group in member.groups)
        names = dict.fromkeys(name for member in members for name in member.columns)
        self.columns = {
            name: tuple(v for m in members for v in m.columns.get(name, (None,) * len(m))) for name in names
        }
        self.notes = tuple(note for member in members for note in member.notes)
        self.doubts = tuple(doubt for member in members for doubt in member.doubts)
        self.skipped_bad = sum(member.skipped_bad for member in members)
        facts = [[part, member.fingerprint] for part, member in self._members]
        self.fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def ids_of_part(self, part: str) -> tuple[str, ...]:
        """Ids of the images whose source is that part; "train" for those of the first."""
        return tuple(
            image_id
            for image_id, (number, _) in zip(self.ids, self._places, strict=True)
            if self._members[number][0] == part
        )

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, i: int) -> Sample:
        if not 0 <= i < len(self):
            raise IndexError(f"image {i} of {len(self)}")
        number, inside = self._places[i]
        sample, labels = self._members[number][1][inside], self._labels[number]
        if sample.image_id != self.ids[i]:
            sample = replace(sample, image_id=self.ids[i])
        if labels is None:
            return sample
        return replace(sample, instances=replace(sample.instances, labels=labels[sample.instances.labels]))

    @property
    def cells(self) -> int:
        return sum(member.cells for _, member in self._members)

    @property
    def max_cells(self) -> int:
        return max(member.max_cells for _, member in self._members)

    @property
    def max_size(self) -> tuple[int, int]:
        sizes = [member.max_size for _, member in self._members]
        return max(height for height, _ in sizes), max(width for _, width in sizes)

    @property
    def cells_per_image(self) -> tuple[int, ...]:
        return tuple(count for _, member in self._members for count in member.cells_per_image)

    def _free_name(self, part: str, image_id: str, member: Dataset, i: int) -> str:
        """The image's id, with the part before it where another image has it. Raises HarnessError for a copy."""
        if image_id not in self._index:
            return image_id
        number, inside = self._places[self._index[image_id]]
        where, other = self._members[number]
        if _is_copy(other[inside].image, member[i].image):
            raise HarnessError(
                f"the image {image_id!r} is in {where} ({other.public_source}) and in {part} "
                f"({member.public_source}); leave it out of one of them"
            )
        name = f"{part}/{image_id}"
        while name in self._index:
            name = f"{part}/{name}"
        return name


def _is_copy(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Whether two images show the same picture, also where one was compressed again."""
    pictures = picture_of(a), picture_of(b)
    alike = bool(alike_pictures("ab", pictures)) and has_same_detail(a, b)
    return alike or bool(same_pictures("ab", pictures))


def _labels_by_name(train: Dataset, other: Dataset) -> NDArray[np.int64] | None:
    """(classes of other,) the label that each class has in train; None where labels are the same.

    Raises HarnessError where a class with cells has none.
    """
    if other.classes == train.classes:
        return None
    known: Mapping[str, int] = {name: label for label, name in enumerate(train.classes)}
    used = {label for i in range(len(other)) for label in set(other[i].instances.labels.tolist())}
    unknown = [name for label, name in enumerate(other.classes) if label in used and name not in known]
    if unknown:
        raise HarnessError(
            f"{other.public_source} has cells of the class {unknown[0]!r}, which {train.public_source} does not have "
            f"({', '.join(train.classes)}); give the classes the same names"
        )
    return np.asarray([known.get(name, 0) for name in other.classes], np.int64)
