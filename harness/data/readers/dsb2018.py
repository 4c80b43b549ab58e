"""Kaggle's Data Science Bowl 2018: a folder for each image, with images/ID.png and one file a nucleus in masks/."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.data.drawing import Canvas, Cell, Patch, draw_sample
from harness.data.files import stamp_of_files
from harness.data.images import images_in, read_image, read_labels
from harness.data.source import DataSource, Loaded, SourceIndex, SourceLocation
from harness.errors import HarnessError, one_line

USAGE = "dsb2018:DIR"

CLASSES = ("nucleus",)

MAX_MASKS = 20_000
"""Most masks of an image. Each is decoded as a whole plane; the busiest image of the data set has 375."""


@dataclass
class _Found:
    """entries: id, image, masks."""

    entries: list[tuple[str, Path, list[Path]]]
    unlabelled: list[Path]
    problems: list[str]


@dataclass(frozen=True)
class Dsb2018:
    """A stage of the competition, such as stage1_train. Masks may overlap; a folder without masks is unlabelled."""

    location: SourceLocation
    version: int = 1

    def stamp(self) -> object:
        return stamp_of_files(*self.location.paths)

    def unlabelled(self) -> tuple[Path, ...]:
        return tuple(self._found().unlabelled)

    def index(self) -> SourceIndex:
        found = self._found()
        count = len(found.unlabelled)
        notes = (f"no masks, taken as unlabelled: {count} images",) if count else ()
        return SourceIndex(CLASSES, [partial(_load, *entry) for entry in found.entries], tuple(found.problems), notes)

    def _found(self) -> _Found:
        folder = self.location.folder(USAGE)
        found = _Found([], [], [])
        for one in sorted(path for path in folder.iterdir() if (path / "images").is_dir()):
            name, images = one_line(one.name), list(images_in(one / "images").values())
            masks = list(images_in(one / "masks").values()) if (one / "masks").is_dir() else []
            if not one.name.isprintable():
                found.problems.append(f"{name}: the name holds characters that cannot be printed")
            elif len(images) != 1:
                found.problems.append(f"{name}/images: {len(images)} images; there is one in a folder")
            elif len(masks) > MAX_MASKS:
                found.problems.append(f"{name}/masks: {len(masks):,} masks are too many; {MAX_MASKS:,} are the most")
            elif masks:
                found.entries.append((one.name, images[0], masks))
            else:
                found.unlabelled.append(images[0])
        return found


def _load(image_id: str, image: Path, masks: list[Path]) -> Loaded:
    try:
        pixels, notes = read_image(image)
    except HarnessError as error:
        return Loaded(None, (f"{image_id}/images/{one_line(image.name)}: {error}",))
    cells = (Cell(f"{image_id}/masks/{one_line(path.name)}", 0, partial(_drawn, path)) for path in masks)
    try:
        sample, problems, _ = draw_sample(image_id, pixels, cells, CLASSES)
    except HarnessError as error:
        return Loaded(None, (f"{image_id}: {error}",))
    return Loaded(sample, tuple(problems), notes)


def _drawn(path: Path, canvas: Canvas) -> list[Patch]:
    return [canvas.plane(0, 0, read_labels(path, (canvas.height, canvas.width)) != 0)]


def _guess(folder: Path) -> str | None:
    """By the first folder with images/: it holds one image, and masks of other names."""
    first = next((path for path in sorted(folder.iterdir()) if (path / "images").is_dir()), None)
    if first is None or not (first / "masks").is_dir():
        return None
    images, masks = images_in(first / "images"), images_in(first / "masks")
    return f"dsb2018:{folder}" if len(images) == 1 and masks and not set(images) & set(masks) else None


SOURCE = DataSource(
    name="dsb2018",
    usage=USAGE,
    help="DSB2018: a folder an image, one mask a file",
    open=lambda arguments: Dsb2018(SourceLocation.of(USAGE, arguments)),
    guess=_guess,
)
