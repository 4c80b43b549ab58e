"""YOLO's text files of normalised polygons, as Ultralytics and the tools that export to it lay them out.

Corners are in shares of the image's width and height, counted from the upper left corner of the upper left pixel. They
are filled as the COCO reader fills polygons.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.beside import first_files, read_bytes, visible
from harness.data.drawing import Canvas, Cell, Patch, draw_sample
from harness.data.files import files_below, stamp_of_files
from harness.data.images import is_image, read_image
from harness.data.pairing import Pairs, pair_files, stem_of
from harness.data.source import DataSource, Loaded, SourceIndex, SourceLocation
from harness.errors import HarnessError, one_line

USAGE = "yolo:DIR"

NAMES_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
LISTS_OF_NAMES = ("classes.txt", "obj.names")
ROBOFLOW_TEXTS = ("readme.roboflow.txt", "readme.dataset.txt")
OTHER_TEXTS = ("classes.txt", "train.txt", "val.txt", "test.txt", "readme.txt", *ROBOFLOW_TEXTS)

MAX_NAMES_BYTES = 2**17
MAX_CLASSES = 10_000

OVER = 0.01
"""Share of the image that a corner may lie outside; it is moved to the edge, as Ultralytics does."""


@dataclass(frozen=True)
class YoloFolder:
    """A folder with images/ and labels/, or one for each split (train/images, train/labels), or files side by side.

    The text file of an image lies where "labels" stands in place of "images" in its path. Class names are read from
    `names` in data.yaml, or from classes.txt.
    """

    location: SourceLocation
    version: int = 1

    def stamp(self) -> object:
        return stamp_of_files(*self.location.paths)

    def unlabelled(self) -> tuple[Path, ...]:
        return self._pairs().unlabelled

    def index(self) -> SourceIndex:
        found = self._pairs()
        names = _names(self._folder)
        if names is None:
            names = _numbered(path for _, path in found.pairs.values())
        entries = [partial(_load, image_id, *files, names) for image_id, files in found.pairs.items()]
        return SourceIndex(names, entries, found.problems, found.notes)

    @property
    def _folder(self) -> Path:
        return self.location.folder(USAGE)

    def _pairs(self) -> Pairs:
        files = [path for path in files_below(self._folder) if visible(path)]
        images = [path for path in files if is_image(path) and "labels" not in self._kinds(path)]
        texts = [
            path
            for path in files
            if path.suffix.lower() == ".txt"
            and path.name.lower() not in OTHER_TEXTS
            and "images" not in self._kinds(path)
        ]
        return pair_files(images, texts, self._key, "annotations")

    def _parts(self, path: Path) -> tuple[str, ...]:
        return path.parent.relative_to(self._folder).parts

    def _kinds(self, path: Path) -> list[str]:
        return [part.lower() for part in self._parts(path)]

    def _key(self, path: Path) -> str:
        """Subfolders and stem, without the folders "images" and "labels"."""
        folders = [part for part in self._parts(path) if part.lower() not in ("images", "labels")]
        return "/".join([*folders, stem_of(path)])


def _names(folder: Path) -> tuple[str, ...] | None:
    """Class names by number; None where no file says them. Raises HarnessError where one says them wrongly."""
    for name in NAMES_FILES:
        if (folder / name).is_file():
            return _judged(_names_of_yaml(folder / name), name)
    for name in LISTS_OF_NAMES:
        if (folder / name).is_file():
            try:
                lines = read_bytes(folder / name, MAX_NAMES_BYTES).decode("utf-8-sig").splitlines()
            except (HarnessError, UnicodeDecodeError) as error:
                raise HarnessError(f"{name}: not a list of class names: {one_line(error)}") from error
            return _judged([line.strip() for line in lines if line.strip()], name)
    return None


def _names_of_yaml(path: Path) -> Any:
    import yaml

    try:
        whole = yaml.safe_load(read_bytes(path, MAX_NAMES_BYTES).decode("utf-8-sig"))
    except (HarnessError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise HarnessError(f"{path.name} is not YAML: {one_line(error)}") from error
    names = whole.get("names") if isinstance(whole, dict) else None
    if isinstance(names, dict):
        names = [names.get(i, names.get(str(i))) for i in range(min(len(names), MAX_CLASSES + 1))]
    return names


def _judged(names: Any, where: str) -> tuple[str, ...]:
    good = isinstance(names, list) and 0 < len(names) <= MAX_CLASSES
    if not good or not all(isinstance(name, str) and name.strip() for name in map(_text, names)):
        raise HarnessError(f"{where}: names must be a list of class names, or number and name from 0 on")
    texts = tuple(one_line(_text(name), 60) for name in names)
    if len(set(texts)) < len(texts):
        raise HarnessError(f"{where}: two classes share a name")
    return texts


def _text(name: Any) -> Any:
    """YAML takes some names for numbers."""
    return str(name) if isinstance(name, int) and abs(name) < 2**63 else name


def _numbered(texts: Iterator[Path]) -> tuple[str, ...]:
    """Names for the class numbers in use, where no file has names: "cell" for one, "class 0", "class 1" for more."""
    most = 0
    for path in texts:
        try:
            lines = read_bytes(path).decode("ascii", "replace").splitlines()
        except HarnessError:
            continue  # told when the file is read
        numbers = [line.split(maxsplit=1)[0] for line in lines if line.strip()]
        most = max([most, *(int(n) for n in numbers if n.isascii() and n.isdigit() and len(n) < 6)])
    most = min(most, MAX_CLASSES - 1)
    return tuple(f"class {i}" for i in range(most + 1)) if most else ("cell",)


def _load(image_id: str, image: Path, path: Path, classes: tuple[str, ...]) -> Loaded:
    try:
        pixels, notes = read_image(image)
    except HarnessError as error:
        return Loaded(None, (f"{one_line(image.name)}: {error}",))
    try:
        lines = read_bytes(path).decode("utf-8-sig").splitlines()
        size = np.asarray(pixels.shape[1::-1], np.float64)
        problems: list[str] = []
        cells: list[Cell] = []
        for i, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    label, points = _row(line, len(classes))
                    cells.append(Cell(f"line {i}", label, partial(_drawn, points * size)))
                except HarnessError as error:
                    problems.append(f"line {i}: {error}")
        sample, more, _ = draw_sample(image_id, pixels, cells, classes)
    except UnicodeDecodeError:
        return Loaded(None, (f"{one_line(path.name)}: not text",))
    except HarnessError as error:
        return Loaded(None, (f"{one_line(path.name)}: {error}",))
    return Loaded(sample, tuple(f"{one_line(path.name)}: {problem}" for problem in [*problems, *more]), notes)


def _row(line: str, classes: int) -> tuple[int, NDArray[np.float64]]:
    """Class and (N, 2) corners in shares of the image. Raises HarnessError."""
    first, *rest = line.split()
    if not (first.isascii() and first.isdigit() and len(first) < 6 and int(first) < classes):
        raise HarnessError(f"the class is {one_line(first, 20)!r}; there are {classes}, counted from 0")
    if len(rest) == 4:
        raise HarnessError("a box, not an outline: this file is for detection")
    if len(rest) % 2 and len(rest) > 6:
        raise HarnessError(f"an outline of {len(rest)} numbers, not pairs: is the last one a confidence?")
    if len(rest) % 2 or len(rest) < 6:
        raise HarnessError(f"an outline of {len(rest)} numbers; three corners, six numbers, are the least")
    try:
        points = np.asarray([float(number) for number in rest], np.float64).reshape(-1, 2)
    except ValueError as error:
        raise HarnessError("something other than numbers") from error
    if not np.isfinite(points).all():
        raise HarnessError("an outline holds numbers that are not finite")
    if points.min() < -OVER or points.max() > 1 + OVER:
        worst = points.min() if points.min() < -OVER else points.max()
        raise HarnessError(f"corners are shares of the image, 0 to 1; this outline holds {worst:g}")
    return int(first), points.clip(0, 1)


def _drawn(points: NDArray[np.float64], canvas: Canvas) -> list[Patch]:
    return [canvas.coco_polygon(points)]


def _guess(folder: Path) -> str | None:
    """Where names are beside images and labels, or the first text file beside an image holds a row of this kind."""
    pairs = [(folder / "images", folder / "labels"), (folder / "train" / "images", folder / "train" / "labels")]
    for images, labels in (*pairs, (folder, folder)):
        stems = {path.stem for path in first_files(images) if is_image(path)}
        for path in first_files(labels):
            if path.suffix.lower() == ".txt" and path.stem in stems:
                return f"yolo:{folder}" if _looks_right(path) else None
    return None


def _looks_right(path: Path) -> bool:
    try:
        lines = read_bytes(path).decode("ascii").split("\n")
        return all(_row(line, MAX_CLASSES) for line in lines[:3] if line.strip())
    except (HarnessError, UnicodeDecodeError):
        return False


SOURCE = DataSource(
    name="yolo",
    usage=USAGE,
    help="YOLO's text files of polygons, in images/ and labels/",
    open=lambda arguments: YoloFolder(SourceLocation.of(USAGE, arguments)),
    guess=_guess,
)
