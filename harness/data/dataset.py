"""Data set: samples by number or by id, as views into packed arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from harness.contract import Sample
from harness.data.store.pack import MemorySink, Pack, Packer, digest
from harness.errors import HarnessError

HELD_BYTES = 64 * 2**20
"""Bytes of images that may stay mapped in this process after they were read. They remain in the disk's cache."""


class Dataset:
    """The images of one source with their cells, sorted by image id.

    Attributes:
        source: As typed, to load it again.
        public_source: The same with absolute folders cut to their last two parts, for records and tables.
        classes: Names, in label order.
        fingerprint: SHA-256 (hexadecimal) over ids, pixels and masks.
        ids: One entry per image; cell_types, groups and each of columns too.
        columns: What else the source knows of the images, such as their plates, by name.
        notes: What a user should be told once, whole sentences.
        doubts: Why the labels may not be what they are taken for (see harness.data.doubts). A run stops at them.
        skipped_bad: How many images and cells were left out because they are bad.
        unlabelled: Image files of the same kind without annotation; harness.data.unlabelled reads them.
    """

    def __init__(
        self,
        pack: Pack,
        source: str,
        public_source: str,
        unlabelled: tuple[Path, ...] = (),
        rebuild: Callable[[], Pack] | None = None,
    ) -> None:
        """rebuild: makes the pack again where part of a stored one turns out damaged; None for one just made."""
        self._pack = pack
        self._rebuild = rebuild
        self._bytes_read = 0
        self._checked = np.full(len(pack.facts.ids), rebuild is None)
        self._index = {image_id: i for i, image_id in enumerate(pack.facts.ids)}
        self.source, self.public_source, self.unlabelled = source, public_source, unlabelled
        self.classes, self.ids = pack.facts.classes, pack.facts.ids
        self.cell_types, self.groups = pack.facts.cell_types, pack.facts.groups
        self.columns = pack.facts.columns
        self.notes, self.skipped_bad, self.doubts = pack.facts.notes, pack.facts.skipped_bad, pack.facts.doubts
        self.fingerprint = pack.fingerprint()

    @classmethod
    def from_samples(cls, samples: Sequence[Sample], classes: Sequence[str], source: str = "samples") -> Dataset:
        """A data set held in memory, in the order given. Raises HarnessError where two samples share an id."""
        packer = Packer(MemorySink())
        for sample in samples:
            packer.add(sample, digest(sample))
        dataset = cls(packer.finish(tuple(classes)), source, source)
        if len(dataset._index) < len(samples):
            raise HarnessError(f"{source}: two images share an id")
        return dataset

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> Sample:
        """Image i; its arrays are views that cannot be written to. Raises IndexError."""
        if not 0 <= i < len(self):
            raise IndexError(f"image {i} of {len(self)}")
        sample = self._pack.sample(i)
        if not self._checked[i]:
            if digest(sample) != self._pack.digests[i].tobytes():
                self._repair()
                sample = self._pack.sample(i)
            self._checked[i] = True
        self._bytes_read += sample.image.nbytes
        if self._bytes_read > HELD_BYTES:
            self._pack.release()
            self._bytes_read = 0
        return sample

    def sample(self, image_id: str) -> Sample:
        """The image of that id. Raises HarnessError where there is none."""
        if image_id not in self._index:
            raise HarnessError(f"{self.public_source} has no image {image_id!r}")
        return self[self._index[image_id]]

    @property
    def cells(self) -> int:
        """Cells of all images, crowd regions included."""
        return len(self._pack.boxes)

    @property
    def max_cells(self) -> int:
        """Most cells on one image."""
        return int(np.diff(self._pack.cells).max(initial=0))

    @property
    def max_size(self) -> tuple[int, int]:
        """Largest height and largest width, in pixels; they may be of different images."""
        height, width = self._pack.images[:, 1:3].max(axis=0, initial=0).tolist()
        return height, width

    @property
    def cells_per_image(self) -> tuple[int, ...]:
        """Cells of each image, in the order of ids."""
        return tuple(np.diff(self._pack.cells).tolist())

    def _repair(self) -> None:
        assert self._rebuild is not None
        self._pack = self._rebuild()
        if self._pack.fingerprint() != self.fingerprint:
            raise HarnessError(f"the files of {self.public_source} changed while they were in use; run again")
