"""Sequences of the Cell Tracking Challenge: 01/t000.tif, and 01_GT/SEG/man_seg000.tif or 01_ST/SEG/man_seg000.tif.

Names and folders are those of the challenge's "Naming and file content conventions". Gold segmentations (GT) go before
silver ones (ST). In a 3D sequence a segmentation is of one slice (man_seg_000_012.tif) or a stack: it is not read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from harness.data.files import stamp_of_files
from harness.data.images import images_in
from harness.data.label_images import load_pair
from harness.data.source import DataSource, SourceIndex, SourceLocation
from harness.errors import HarnessError, one_line

USAGE = "ctc:DIR"

SEQUENCE = re.compile(r"[0-9]{2}")
FRAME = re.compile(r"t([0-9]{3,6})\.tiff?", re.IGNORECASE)
SEGMENTATION = re.compile(r"man_seg([0-9]{3,6})\.tiff?", re.IGNORECASE)
SLICE = re.compile(r"man_seg_[0-9]+_[0-9]+\.tiff?", re.IGNORECASE)

TRUTHS = ("GT", "ST")
"""Gold before silver."""


@dataclass
class _Found:
    """pairs: id and sequence of an image, its file, its segmentation. silver: how many of those are silver."""

    pairs: list[tuple[str, str, Path, Path]] = field(default_factory=list)
    unlabelled: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    silver: int = 0


@dataclass(frozen=True)
class CellTracking:
    """Every sequence of a folder. A sequence is a group: its frames show the same cells."""

    location: SourceLocation
    version: int = 1

    def stamp(self) -> object:
        return stamp_of_files(*self.location.paths)

    def unlabelled(self) -> tuple[Path, ...]:
        return tuple(self._found().unlabelled)

    def group_of(self, path: Path) -> str | None:
        """The sequence of an unlabelled frame."""
        return path.parent.name

    def index(self) -> SourceIndex:
        found = self._found()
        entries = [
            partial(load_pair, image_id, image, labels, group=sequence)
            for image_id, sequence, image, labels in sorted(found.pairs)
        ]
        notes = []
        if found.unlabelled:
            notes.append(f"no segmentation, taken as unlabelled: {len(found.unlabelled)} frames")
        if found.silver:
            notes.append(f"no gold segmentation, the silver one taken: {found.silver} frames")
        return SourceIndex(("cell",), entries, tuple(found.problems), tuple(notes))

    def _found(self) -> _Found:
        folder = self.location.paths[0]
        sequences = [path for path in sorted(folder.iterdir()) if _is_sequence(path)] if folder.is_dir() else []
        if not sequences:
            raise HarnessError(f"{folder.name} holds no sequence, no folder 01; write {USAGE}")
        found = _Found()
        for sequence in sequences:
            try:
                _look_through(sequence, found)
            except HarnessError as error:
                found.problems.append(f"{sequence.name}: {error}")
        return found


def _is_sequence(path: Path) -> bool:
    return bool(SEQUENCE.fullmatch(path.name)) and path.is_dir()


def _look_through(sequence: Path, found: _Found) -> None:
    """Raises HarnessError where the sequence is of stacks."""
    labels: dict[int, tuple[str, Path]] = {}
    for truth in TRUTHS:
        folder = sequence.with_name(f"{sequence.name}_{truth}") / "SEG"
        for path in images_in(folder).values() if folder.is_dir() else ():
            if SLICE.fullmatch(path.name):
                where = f"{folder.parent.name}/SEG/{path.name}"
                raise HarnessError(f"{where} is a slice of a 3D sequence; only 2D ones are read")
            named = SEGMENTATION.fullmatch(path.name)
            if named is None:
                found.problems.append(f"{folder.parent.name}/SEG/{one_line(path.name)}: not named man_segNNN.tif")
            else:
                labels.setdefault(int(named[1]), (truth, path))
    frames: dict[int, Path] = {}
    for path in images_in(sequence).values():
        named = FRAME.fullmatch(path.name)
        if named is None:
            found.problems.append(f"{sequence.name}/{one_line(path.name)}: not named tNNN.tif")
        else:
            frames[int(named[1])] = path
    if frames and labels and (planes := _planes(frames[min(frames)])) > 1:
        raise HarnessError(f"a 3D sequence, {planes} slices a frame; only 2D ones are read")
    for number, path in frames.items():
        if number in labels:
            image_id = f"{sequence.name}/{path.stem}"
            found.pairs.append((image_id, sequence.name, path, labels[number][1]))
            found.silver += labels[number][0] == "ST"
        else:
            found.unlabelled.append(path)
    for number in sorted(set(labels) - set(frames)):
        truth, path = labels[number]
        found.problems.append(f"{sequence.name}_{truth}/SEG/{path.name}: there is no such frame")


def _planes(path: Path) -> int:
    """Pages of a TIFF file; 1 where it cannot be read, which is told when it is."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            return len(tiff.pages)
    except Exception:  # tifffile raises nearly anything on damaged bytes
        return 1


def _guess(folder: Path) -> str | None:
    for name in ("01", "02"):
        if any((folder / f"{name}_{truth}" / "SEG").is_dir() for truth in TRUTHS) and (folder / name).is_dir():
            return f"ctc:{folder}"
    return None


SOURCE = DataSource(
    name="ctc",
    usage=USAGE,
    help="sequences of the Cell Tracking Challenge, in 2D",
    open=lambda arguments: CellTracking(SourceLocation.of(USAGE, arguments)),
    guess=_guess,
)
