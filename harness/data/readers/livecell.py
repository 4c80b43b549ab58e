"""LIVECell's folder as it is published: its three files of annotations, single cell types and smaller training sets.

Files are looked for by name anywhere below the folder, so that they may also lie side by side. Layout and names are
those of the README of sartorius-research/LIVECell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from harness.data.files import files_below, stamp_of_files
from harness.data.readers.coco import Coco, entries_of
from harness.data.source import DataSource, SourceIndex, SourceLocation, public_path
from harness.errors import HarnessError, nearest, one_line

USAGE = "livecell:DIR[,SUBSET]"

TYPES = ("a172", "bt474", "bv2", "huh7", "mcf7", "shsy5y", "skbr3", "skov3")
PERCENTS = ("2%", "4%", "5%", "25%", "50%")
PUBLISHED = {"train": "train", "calibration": "val", "validation": "test"}
"""Part of a run to LIVECell's word for it: its models are chosen on "val" and scored on "test"."""

_FILES = ("train", "val", "test")


@dataclass(frozen=True)
class Livecell:
    """Files of annotations and the folder of the images."""

    location: SourceLocation
    files: tuple[Path, ...]
    images: Path
    version: int = 1

    def stamp(self) -> object:
        return stamp_of_files(*self.files, self.images)

    def unlabelled(self) -> tuple[Path, ...]:
        return ()

    def index(self) -> SourceIndex:
        parts = [Coco(SourceLocation("", "", (path, self.images))).read() for path in self.files]
        classes, *others = [part[0] for part in parts]
        if any(other != classes for other in others):
            raise HarnessError("livecell: the files of annotations differ in their categories")
        images = sorted((image for part in parts for image in part[1]), key=lambda image: image.image_id)
        for image, following in pairwise(images):
            if image.image_id == following.image_id:
                raise HarnessError(f"livecell: the image {image.file_name} is in two files of annotations")
        problems = tuple(problem for part in parts for problem in part[2])
        notes = tuple(dict.fromkeys(note for part in parts for note in part[3]))
        return SourceIndex(classes, entries_of(images, classes), problems, notes)


def _open(arguments: str) -> Livecell:
    folder, words = _parsed(arguments)
    subset = next((word for word in words if word not in _FILES), "")
    wanted = [word for word in words if word in _FILES] or _FILES
    below = files_below(folder)
    files = tuple(_annotations(folder, below, subset, name) for name in wanted)
    images = folder / "images" if (folder / "images").is_dir() else folder
    public = ",".join([public_path(str(folder)), *words])
    location = SourceLocation(f"livecell:{arguments}", f"livecell:{public}", (folder,), ",".join(words))
    return Livecell(location, files, images)


def _parts(arguments: str) -> Mapping[str, str]:
    """The published split, unless a single file was named."""
    _, words = _parsed(arguments)
    if any(word in _FILES for word in words):
        return {}
    return {part: f"livecell:{arguments},{name}" for part, name in PUBLISHED.items()}


def _parsed(arguments: str) -> tuple[Path, list[str]]:
    """The folder, and the words after it."""
    known = (*TYPES, *PERCENTS, *_FILES)
    typed, words = arguments, list[str]()
    while not Path(typed).expanduser().is_dir() and "," in typed:
        typed, _, word = typed.rpartition(",")
        words.insert(0, word.strip().lower())
    folder = SourceLocation.of("livecell:DIR", typed).folder(USAGE)
    for word in words:
        if word not in known:
            raise HarnessError(f"livecell: no subset {one_line(word)!r}{nearest(word, known)}; there are: "
                               f"{', '.join((*TYPES, *PERCENTS))}")  # fmt: skip
    return folder, words


def _annotations(folder: Path, below: Iterable[Path], subset: str, name: str) -> Path:
    """The file of annotations of a subset and a part, such as ("bv2", "train"). Raises HarnessError."""
    if subset in TYPES:
        wanted = re.compile(rf"(^|/){subset}/{name}\.json$|(^|/)(livecell_)?{subset}_{name}\.json$", re.IGNORECASE)
    elif subset and name == "train":
        wanted = re.compile(rf"(^|/)(\d_train)?{subset[:-1]}percent\.json$", re.IGNORECASE)
    else:
        wanted = re.compile(rf"(^|/)livecell_coco_{name}\.json$", re.IGNORECASE)
    found = [path for path in below if wanted.search(path.relative_to(folder).as_posix())]
    if len(found) != 1:
        said = "no file" if not found else f"{len(found)} files"
        what = f"annotations of {' '.join(filter(None, (subset, name)))}"
        raise HarnessError(f"livecell: {said} with the {what} below {folder.name}; is it LIVECell's folder?")
    return found[0]


def _guess(folder: Path) -> str | None:
    names = ("livecell_coco_train.json", "livecell_coco_val.json", "livecell_coco_test.json")
    inside = (folder, folder / "annotations", folder / "annotations" / "LIVECell")
    return f"livecell:{folder}" if any(all((f / name).is_file() for name in names) for f in inside) else None


SOURCE = DataSource(
    name="livecell",
    usage=USAGE,
    help="LIVECell as published, with its own split",
    open=_open,
    guess=_guess,
    parts=_parts,
)
