"""Integer label images beside images, as cellpose, StarDist and the Cell Tracking Challenge keep them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.contract import Instances, Sample
from harness.data.files import stamp_of_files
from harness.data.images import images_in, read_image, read_labels
from harness.data.source import DataSource, Loaded, SourceIndex, SourceLocation
from harness.errors import HarnessError, one_line
from harness.masks.crops import CropMasks
from harness.masks.run_lengths import MAX_COVER

LABEL_ENDINGS = ("_cp_masks", "_masks", "_mask", "_labels", "_label", "_seg")
IMAGE_ENDINGS = ("_img", "_image")


def image_stem(label_stem: str) -> str:
    """What the image of a label file is called: x_masks belongs to x (cellpose), man_seg000 to t000 (CTC)."""
    tracked = re.fullmatch(r"man_seg(\d+)", label_stem)
    if tracked:
        return f"t{tracked[1]}"
    return next((label_stem.removesuffix(e) for e in LABEL_ENDINGS if label_stem.endswith(e)), label_stem)


@dataclass(frozen=True)
class LabelFolder:
    """IMAGES_DIR and LABELS_DIR; they may be one. Files pair up by stem, the usual endings left aside."""

    location: SourceLocation
    version: int = 1

    def stamp(self) -> object:
        return stamp_of_files(*sorted(set(self.location.paths)))

    def unlabelled(self) -> tuple[Path, ...]:
        return self._pairs()[1]

    def index(self) -> SourceIndex:
        pairs, unlabelled, problems = self._pairs()
        notes = (f"no label file, taken as unlabelled: {len(unlabelled)} images",) if unlabelled else ()
        return SourceIndex(("cell",), [partial(_load, *pair) for pair in pairs], problems, notes)

    def _pairs(self) -> tuple[list[tuple[Path, Path]], tuple[Path, ...], tuple[str, ...]]:
        """Image and label file of each pair by stem of the image; images without labels; problems."""
        for path in self.location.paths:
            if not path.is_dir():
                raise HarnessError(f"{path.name} is not a folder; write folder:IMAGES_DIR,LABELS_DIR")
        images, labels = (list(images_in(path).values()) for path in self.location.paths)
        if self.location.paths[0] == self.location.paths[1]:
            labels = [p for p in images if image_stem(p.stem) != p.stem]
            images = [p for p in images if image_stem(p.stem) == p.stem]
        problems: list[str] = []
        by_stem: dict[str, Path] = {}
        for path in images:
            if not path.name.isprintable():
                problems.append(f"{one_line(path.name)}: the name holds characters that cannot be printed")
            elif path.stem in by_stem:
                problems.append(f"{path.name}: another image, {by_stem[path.stem].name}, has the same name")
            else:
                by_stem[path.stem] = path
        bare = {_bare(stem): stem for stem in by_stem}
        found: dict[str, Path] = {}
        for path in labels:
            stripped = image_stem(path.stem)
            stem = next((s for s in (path.stem, stripped, bare.get(stripped)) if s in by_stem), None)
            if stem is None:
                problems.append(f"{path.name}: there is no image for these labels")
            elif stem in found:
                problems.append(f"{path.name}: {by_stem[stem].name} has labels already, {found[stem].name}")
            else:
                found[stem] = path
        pairs = [(by_stem[stem], found[stem]) for stem in sorted(found)]
        return pairs, tuple(by_stem[stem] for stem in sorted(set(by_stem) - set(found))), tuple(problems)


def _bare(stem: str) -> str:
    return next((stem.removesuffix(e) for e in IMAGE_ENDINGS if stem.endswith(e)), stem)


def _load(image_path: Path, label_path: Path) -> Loaded:
    try:
        pixels, notes = read_image(image_path)
    except HarnessError as error:
        return Loaded(None, (f"{one_line(image_path.name)}: {error}",))
    try:
        masks, _ = CropMasks.from_label_image(_judged(read_labels(label_path, pixels.shape[:2])))
    except HarnessError as error:
        return Loaded(None, (f"{one_line(label_path.name)}: {error}",))
    cells = Instances.of_masks(masks, np.zeros(len(masks), np.int64))
    return Loaded(Sample(image_path.stem, pixels, cells, "cell" if len(cells) else None), (), notes)


def _judged(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """The labels, unless their boxes together would be out of proportion to the image (noise taken for labels)."""
    if labels.max(initial=0) <= MAX_COVER:  # so few labels cannot be
        return labels
    flat = labels.ravel()
    values, first = np.unique(flat, return_index=True)
    last = len(flat) - 1 - np.unique(flat[::-1], return_index=True)[1]
    rows = last // labels.shape[1] - first // labels.shape[1] + 1
    if int(rows[values != 0].sum()) > MAX_COVER * labels.shape[0]:
        raise HarnessError(f"its {len(values)} labels are scattered over the whole image: not a label image of cells")
    return labels


USAGE = "folder:IMAGES_DIR,LABELS_DIR"

SOURCE = DataSource(
    name="folder",
    usage=USAGE,
    help="integer label images beside images, as cellpose and StarDist keep them",
    open=lambda arguments: LabelFolder(SourceLocation.of(USAGE, arguments)),
)
