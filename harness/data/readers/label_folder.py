"""Integer label images beside images, as cellpose, StarDist and many others keep them: flat or in subfolders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.data.files import files_below, stamp_of_files
from harness.data.images import SUFFIXES, images_in, is_image, other_files
from harness.data.label_images import load_pair
from harness.data.pairing import (
    IMAGE_FOLDERS,
    LABEL_FOLDERS,
    Pairs,
    bare_stems,
    image_stem,
    image_stems,
    pair_files,
    stem_of,
)
from harness.data.source import DataSource, SourceIndex, SourceLocation
from harness.errors import HarnessError

FLAT, NESTED = "folder:IMAGES_DIR,LABELS_DIR", "nested:IMAGES_DIR,LABELS_DIR"


LEAST_GROUPS = 6
"""Subfolders from which on each is taken for a sample whose images belong on one side of a split."""


@dataclass(frozen=True)
class LabelFolder:
    """IMAGES_DIR and LABELS_DIR; they may be one. Files pair up by stem, the usual endings left aside.

    Attributes:
        nested: Images lie in subfolders. Folders called images or masks, and the like, do not count for the pairing.
            Where there are several subfolders, each is a group.
    """

    location: SourceLocation
    nested: bool = False
    version: int = 3

    def stamp(self) -> object:
        return stamp_of_files(*sorted(set(self.location.paths)))

    def unlabelled(self) -> tuple[Path, ...]:
        return self._pairs().unlabelled

    def index(self) -> SourceIndex:
        found = self._pairs()
        groups = _groups(found.pairs)
        entries = [partial(load_pair, image_id, *files, groups[image_id]) for image_id, files in found.pairs.items()]
        count = len({group for group in groups.values() if group is not None})
        told = (f"subfolders are groups, each kept on one side of a split: {count}",) if count else ()
        return SourceIndex(("cell",), entries, found.problems, found.notes + told)

    def holds_pairs(self) -> bool:
        """Whether any image has its labels."""
        try:
            return bool(self._pairs().pairs)
        except HarnessError:  # no image, or no label image
            return False

    def _pairs(self) -> Pairs:
        for path in self.location.paths:
            if not path.is_dir():
                raise HarnessError(f"{path.name} is not a folder; write {NESTED if self.nested else FLAT}")
        images, labels = (self._files(path) for path in self.location.paths)
        if self.location.paths[0] == self.location.paths[1]:
            labels = self._labels_among(images)
            images = [path for path in images if path not in set(labels)]
        if not images:
            folder = self.location.paths[0]
            raise HarnessError(f"{folder.name} holds no image ({', '.join(SUFFIXES)}){other_files(folder)}")
        if not labels:
            folder = self.location.paths[1]
            raise HarnessError(f"{folder.name} holds no label image ({', '.join(SUFFIXES)}){other_files(folder)}")
        return pair_files(images, labels, self._id)

    def _files(self, folder: Path) -> list[Path]:
        if self.nested:
            return [path for path in files_below(folder) if is_image(path)]
        return list(images_in(folder).values())

    def _labels_among(self, files: list[Path]) -> list[Path]:
        """By their folder, by their ending, or by a beginning such as mask_ where there is an image of that name."""
        bare = {name for path in files for name in bare_stems(self._id(path))}

        def is_label(path: Path) -> bool:
            in_labels = self.nested and any(folder.lower() in LABEL_FOLDERS for folder in self._folders(path))
            stem = self._id(path)
            return in_labels or image_stem(stem) != stem or not bare.isdisjoint(image_stems(stem)[1:])

        return [path for path in files if is_label(path)]

    def _folders(self, path: Path) -> tuple[str, ...]:
        root = next(root for root in self.location.paths if path.is_relative_to(root))
        return path.parent.relative_to(root).parts

    def _id(self, path: Path) -> str:
        """The stem; where nested, subfolders before it without those that only say what their files are."""
        if not self.nested:
            return stem_of(path)
        folders = self._folders(path)
        return "/".join([*(f for f in folders if f.lower() not in IMAGE_FOLDERS + LABEL_FOLDERS), stem_of(path)])


def _groups(ids: Iterable[str]) -> dict[str, str | None]:
    """The subfolder of each id, where subfolders are samples; else None.

    A few subfolders are rather cell types, treatments or parts of a split, of which each part of a split needs some;
    and a subfolder for each image says nothing.
    """
    folders = {image_id: image_id.rpartition("/")[0] for image_id in ids}
    distinct = set(folders.values())
    if len(distinct) < LEAST_GROUPS or len(distinct) == len(folders):
        return dict.fromkeys(folders)
    return {image_id: folder or None for image_id, folder in folders.items()}


def _guess_flat(folder: Path) -> str | None:
    below = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    images = [path for path in below if path.name.lower() in IMAGE_FOLDERS]
    labels = [path for path in below if path.name.lower() in LABEL_FOLDERS]
    for paths in (*((a, b) for a in images for b in labels), (folder, folder)):
        text = f"folder:{paths[0]},{paths[1]}"
        if LabelFolder(SourceLocation(text, text, paths)).holds_pairs():
            return text
    return None


def _guess_nested(folder: Path) -> str | None:
    text = f"nested:{folder},{folder}"
    source = LabelFolder(SourceLocation(text, text, (folder, folder)), nested=True)
    return text if _guess_flat(folder) is None and source.holds_pairs() else None


SOURCES = (
    DataSource(
        name="folder",
        usage=FLAT,
        help="integer label images beside images, as cellpose and StarDist keep them",
        open=lambda arguments: LabelFolder(SourceLocation.of(FLAT, arguments)),
        guess=_guess_flat,
    ),
    DataSource(
        name="nested",
        usage=NESTED,
        help="the same in subfolders; both may be one folder",
        open=lambda arguments: LabelFolder(SourceLocation.of(NESTED, arguments), nested=True),
        guess=_guess_nested,
    ),
)
