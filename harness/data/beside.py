"""Sources that are one folder: images, and beside each an annotation file of the same name."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.data.files import stamp_of_files
from harness.data.images import images_in, is_image, other_files, read_image
from harness.data.pairing import Pairs, pair_files, stem_of, without_labels
from harness.data.source import DataSource, Loaded, SourceIndex, SourceLocation
from harness.errors import HarnessError, one_line

MAX_BYTES = 2**30
"""Most bytes of an annotation file."""

EXAMINED = 200
"""So many names of a folder are looked at to guess what it is."""


@dataclass(frozen=True)
class BesideImages(ABC):
    """A folder of images and annotation files; a subclass says which files those are and how one is read."""

    location: SourceLocation
    version: int = 1

    usage: ClassVar[str]
    files: ClassVar[str]
    """What the annotation files are called, such as "*.geojson"."""

    def stamp(self) -> object:
        return stamp_of_files(*self.location.paths)

    def unlabelled(self) -> tuple[Path, ...]:
        return self._pairs().unlabelled

    def index(self) -> SourceIndex:
        found = self._pairs()
        if not found.pairs and not found.problems:
            raise HarnessError(f"{self.folder.name} holds no {self.files}{other_files(self.folder)}")
        classes, problems = self.classes([annotation for _, annotation in found.pairs.values()])
        entries = [partial(self._load, image_id, *files, classes) for image_id, files in found.pairs.items()]
        return SourceIndex(classes, entries, (*found.problems, *problems), found.notes)

    @staticmethod
    @abstractmethod
    def is_annotation(path: Path) -> bool:
        """Whether a file is called as the annotations of this format are."""

    @abstractmethod
    def read(self, image_id: str, pixels: NDArray[np.uint8], path: Path, classes: tuple[str, ...]) -> Loaded:
        """The annotations of an image. Raises HarnessError, without the file's name, where the file is bad."""

    def classes(self, annotations: Sequence[Path]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of classes, and problems that only show here. Files that are bad are told when they are read."""
        return ("cell",), ()

    def key(self, path: Path) -> str:
        """What an image and its annotation file have in common."""
        return stem_of(path)

    @property
    def folder(self) -> Path:
        """Raises HarnessError where it is none."""
        return self.location.folder(self.usage)

    def _pairs(self) -> Pairs:
        annotations = [path for path in sorted(self.folder.iterdir()) if visible(path) and self.is_annotation(path)]
        images, _ = without_labels(images_in(self.folder).values())
        return pair_files(images, annotations, self.key, "annotations")

    def _load(self, image_id: str, image: Path, annotation: Path, classes: tuple[str, ...]) -> Loaded:
        try:
            pixels, notes = read_image(image)
        except HarnessError as error:
            return Loaded(None, (f"{one_line(image.name)}: {error}",))
        try:
            loaded = self.read(image_id, pixels, annotation, classes)
        except HarnessError as error:
            return Loaded(None, (f"{one_line(annotation.name)}: {error}",))
        name = one_line(annotation.name)
        problems = tuple(f"{name}: {line}" for line in loaded.problems)
        return replace(loaded, problems=problems, notes=(*notes, *loaded.notes))


def beside_images(name: str, kind: type[BesideImages], text: str) -> DataSource:
    """The plug-in of such a source."""
    return DataSource(
        name=name,
        usage=kind.usage,
        help=text,
        open=lambda arguments: kind(SourceLocation.of(kind.usage, arguments)),
        guess=guess_by_names(name, kind.is_annotation),
    )


def guess_by_names(name: str, is_annotation: Callable[[Path], bool]) -> Callable[[Path], str | None]:
    """Guesses that a folder is of the kind `name` where it holds an image and an annotation file."""

    def guess(folder: Path) -> str | None:
        files = first_files(folder)
        found = any(map(is_image, files)) and any(visible(path) and is_annotation(path) for path in files)
        return f"{name}:{folder}" if found else None

    return guess


def first_files(folder: Path) -> list[Path]:
    """Some files directly in a folder; none where it cannot be listed."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())[:EXAMINED]
    except OSError:
        return []


def visible(path: Path) -> bool:
    """Not hidden, nor what macOS leaves beside files in archives (._name)."""
    return not path.name.startswith(".")


def read_bytes(path: Path, most: int = MAX_BYTES) -> bytes:
    """A whole file. Raises HarnessError, without its name, where it cannot be read or is too large."""
    try:
        size = path.stat().st_size
        if size > most:
            raise HarnessError(f"{size:,} bytes are too many for annotations of one image; {most:,} are the most")
        return path.read_bytes()
    except OSError as error:
        raise HarnessError(f"cannot be read: {error.strerror}") from error


def read_json(path: Path) -> Any:
    """A JSON value. Raises HarnessError, without the file's name, where there is none."""
    try:
        return json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"not JSON: {one_line(error)}") from error
