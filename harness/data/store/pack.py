"""A whole data set in nine arrays: the images end to end, the mask crops end to end, and where each lies.

On disk it is a folder of three files. The two large ones are mapped, not read. A set larger than memory can be used
this way, and all processes of a machine share it. Mapped pages count as memory of the process once they are read, so
they are released now and then. Nothing in the files is executed when they are read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.contract import Instances, Sample
from harness.masks.crops import CropMasks


@dataclass(frozen=True)
class Facts:
    """All that is text. One entry of ids, cell_types, groups and each column per image. The rest is as in Dataset."""

    classes: tuple[str, ...]
    ids: tuple[str, ...]
    cell_types: tuple[str | None, ...]
    groups: tuple[str | None, ...]
    notes: tuple[str, ...] = ()
    skipped_bad: int = 0
    doubts: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Pack:
    """n images with N cells.

    Attributes:
        facts: All that is text.
        images: (n, 4) int64: first byte in `pixels`, height, width, channels.
        cells: (n + 1,) int64: first cell of each image.
        boxes: As in Instances, of all N cells; labels and crowd too.
        crop_starts: (N + 1,) int64: where each mask begins in `crops`.
        digests: (n, 32) uint8: SHA-256 of each image with its cells.
        pixels: uint8, the images end to end.
        crops: uint8, the mask crops end to end.
    """

    facts: Facts
    images: NDArray[np.int64]
    cells: NDArray[np.int64]
    boxes: NDArray[np.int32]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    crop_starts: NDArray[np.int64]
    digests: NDArray[np.uint8]
    pixels: NDArray[np.uint8]
    crops: NDArray[np.uint8]

    def sample(self, i: int) -> Sample:
        """Image i as views, nothing copied."""
        start, height, width, channels = self.images[i].tolist()
        shape = (height, width) if channels == 1 else (height, width, channels)
        a, b = self.cells[i : i + 2].tolist()
        starts = self.crop_starts[a : b + 1]
        boxes = self.boxes[a:b]
        masks = CropMasks(boxes, self.crops[starts[0] : starts[-1]], starts - starts[0])
        return Sample(
            self.facts.ids[i],
            self.pixels[start : start + height * width * channels].reshape(shape),
            Instances(boxes, self.labels[a:b], masks, crowd=self.crowd[a:b]),
            self.facts.cell_types[i],
            self.facts.groups[i],
        )

    def release(self) -> None:
        """Take mapped pages off this process's memory. Views stay valid and are read again from the disk's cache."""
        for array in (self.pixels, self.crops):
            if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                array.base.madvise(mmap.MADV_DONTNEED)

    def fingerprint(self) -> str:
        """SHA-256 over the classes and every image with its id, pixels, masks and labels."""
        whole = hashlib.sha256(json.dumps(self.facts.classes).encode())
        whole.update(self.digests.tobytes())
        return whole.hexdigest()

    def is_consistent(self) -> bool:
        """Whether every index lies inside its array: a damaged file must not crash a reader."""
        n, total = len(self.facts.ids), len(self.boxes)
        texts = (self.facts.cell_types, self.facts.groups, *self.facts.columns.values())
        if any(len(values) != n for values in texts) or self.digests.shape != (n, 32):
            return False
        if self.images.shape != (n, 4) or self.cells.shape != (n + 1,) or self.crop_starts.shape != (total + 1,):
            return False
        if self.boxes.shape != (total, 4) or self.labels.shape != (total,) or self.crowd.shape != (total,):
            return False
        start, height, width, channels = self.images.T
        bytes_each = height * width * channels
        x0, y0, x1, y1 = self.boxes.T.astype(np.int64)
        return bool(
            (self.images >= 0).all()
            and (self.boxes[:, 2:] > self.boxes[:, :2]).all()
            and (start == np.cumsum(bytes_each) - bytes_each).all()
            and bytes_each.sum() == len(self.pixels)
            and (np.diff(self.cells) >= 0).all()
            and (self.cells[0], self.cells[-1]) == (0, total)
            and (np.diff(self.crop_starts) == (x1 - x0) * (y1 - y0)).all()
            and (self.crop_starts[0], self.crop_starts[-1]) == (0, len(self.crops))
        )


def digest(sample: Sample) -> bytes:
    """SHA-256 of an image's id, pixels, boxes, labels, crowd flags and masks."""
    cells = sample.instances
    assert cells.masks is not None
    whole = hashlib.sha256(json.dumps([sample.image_id, sample.image.shape, len(cells)]).encode())
    crowd = np.zeros(len(cells), np.bool_) if cells.crowd is None else cells.crowd
    for array in (sample.image, cells.boxes, cells.labels, crowd, cells.masks.pixels):
        whole.update(np.ascontiguousarray(array).data)
    return whole.digest()


class Sink(Protocol):
    """Where the two large arrays grow."""

    def add(self, image: NDArray[np.uint8], crops: NDArray[np.uint8]) -> None: ...

    def finish(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]: ...


class MemorySink:
    """Both arrays in memory."""

    def __init__(self) -> None:
        self._pixels, self._crops = bytearray(), bytearray()

    def add(self, image: NDArray[np.uint8], crops: NDArray[np.uint8]) -> None:
        self._pixels += np.ascontiguousarray(image).data.cast("B") if image.size else b""
        self._crops += np.ascontiguousarray(crops).data

    def finish(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        pixels, crops = np.frombuffer(self._pixels, np.uint8), np.frombuffer(self._crops, np.uint8)
        pixels.flags.writeable = crops.flags.writeable = False
        return pixels, crops


class FileSink:
    """Both arrays in files of a folder, mapped when finished. Raises OSError, as on a full disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pixels = (folder / "pixels.bin").open("wb", buffering=1 << 16)
        self._crops = (folder / "crops.bin").open("wb", buffering=1 << 16)

    def add(self, image: NDArray[np.uint8], crops: NDArray[np.uint8]) -> None:
        self._pixels.write(np.ascontiguousarray(image).data)
        self._crops.write(np.ascontiguousarray(crops).data)

    def finish(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        self._pixels.close()
        self._crops.close()
        return _mapped(self._folder / "pixels.bin"), _mapped(self._folder / "crops.bin")

    def __enter__(self) -> FileSink:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):  # a full disk raises again when the buffer is flushed
            self._pixels.close()
        with contextlib.suppress(OSError):
            self._crops.close()


class Packer:
    """Collects samples one after the other into a Pack."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._samples: list[tuple[str, str | None, str | None]] = []
        self._known: list[Mapping[str, str]] = []
        self._images: list[tuple[int, int, int, int]] = []
        self._cells = [0]
        self._columns: list[tuple[NDArray, NDArray, NDArray, NDArray]] = []
        self._digests = bytearray()
        self._end = 0

    def add(self, sample: Sample, sample_digest: bytes, columns: Mapping[str, str] | None = None) -> None:
        """columns: what else is known of the image, by name."""
        self._known.append(columns or {})
        cells, (height, width) = sample.instances, sample.size
        assert cells.masks is not None
        channels = sample.image.shape[2] if sample.image.ndim == 3 else 1
        self._sink.add(sample.image, cells.masks.pixels)
        self._samples.append((sample.image_id, sample.cell_type, sample.group))
        self._images.append((self._end, height, width, channels))
        self._end += height * width * channels
        self._cells.append(self._cells[-1] + len(cells))
        crowd = np.zeros(len(cells), np.bool_) if cells.crowd is None else cells.crowd
        self._columns.append((cells.boxes, cells.labels, crowd, np.diff(cells.masks.offsets)))
        self._digests += sample_digest

    def regroup(self, change: Callable[[Mapping[str, str | None]], Mapping[str, str | None]]) -> None:
        """Put images into other groups; `change` is given the group of each id, and gives the new ones."""
        groups = change({image_id: group for image_id, _, group in self._samples})
        self._samples = [(image_id, cell_type, groups[image_id]) for image_id, cell_type, _ in self._samples]

    def finish(
        self,
        classes: tuple[str, ...],
        notes: tuple[str, ...] = (),
        skipped_bad: int = 0,
        doubts: tuple[str, ...] = (),
    ) -> Pack:
        ids, types, groups = zip(*self._samples, strict=True) if self._samples else ((), (), ())
        boxes, labels, crowd, sizes = (
            [np.concatenate(c) for c in zip(*self._columns, strict=True)]
            if self._columns
            else [np.zeros((0, 4)), np.zeros(0), np.zeros(0), np.zeros(0)]
        )
        pixels, crops = self._sink.finish()
        return Pack(
            Facts(classes, ids, types, groups, notes, skipped_bad, doubts, self._columns_by_name()),
            np.asarray(self._images, np.int64).reshape(-1, 4),
            np.asarray(self._cells, np.int64),
            boxes.astype(np.int32),
            labels.astype(np.int64),
            crowd.astype(np.bool_),
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            np.frombuffer(bytes(self._digests), np.uint8).reshape(-1, 32),
            pixels,
            crops,
        )

    def _columns_by_name(self) -> dict[str, tuple[str | None, ...]]:
        names = sorted({name for known in self._known for name in known})
        return {name: tuple(known.get(name) for known in self._known) for name in names}


_ARRAYS = ("images", "cells", "boxes", "labels", "crowd", "crop_starts", "digests")


def write_index(pack: Pack, folder: Path) -> None:
    """Write the third file: all but the two large arrays. Raises OSError."""
    words = np.frombuffer(json.dumps(asdict(pack.facts)).encode(), np.uint8)
    np.savez(folder / "index.npz", facts=words, **{name: getattr(pack, name) for name in _ARRAYS})


def read_pack(folder: Path) -> Pack | None:
    """The pack in a folder; None where there is none or it is damaged. Pixels are checked when they are used."""
    try:
        with np.load(folder / "index.npz", allow_pickle=False) as index:  # the zip format checks its checksums
            arrays = {name: index[name] for name in _ARRAYS}
            words: dict[str, Any] = json.loads(index["facts"].tobytes())
        skipped = int(words.pop("skipped_bad"))
        columns = {name: tuple(values) for name, values in words.pop("columns").items()}
        texts = {name: tuple(entries) for name, entries in words.items()}
        facts = Facts(**texts, skipped_bad=skipped, columns=columns)
        pack = Pack(facts, **arrays, pixels=_mapped(folder / "pixels.bin"), crops=_mapped(folder / "crops.bin"))
        return pack if pack.is_consistent() else None
    except Exception:  # whatever is wrong with a stored pack, the remedy is the same: make it again
        return None


def _mapped(path: Path) -> NDArray[np.uint8]:
    size = path.stat().st_size
    if size == 0:
        return np.zeros(0, np.uint8)
    with path.open("rb") as file:
        return np.ndarray(size, np.uint8, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
