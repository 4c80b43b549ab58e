"""Predicts image files with a trained model, applies the rule of its run, and hands the result to writers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from harness.config.tiling import TILE, WHOLE_PIXELS
from harness.contract import Model, Task
from harness.data.image_folder import read
from harness.data.windows import ZARR_SUFFIX, WholeImage, WindowedImage, open_image
from harness.errors import HarnessError, one_line
from harness.evaluation.calibration import apply_rule
from harness.fileio import make_folder
from harness.inference.formats.writer import PredictedImage, Writer
from harness.inference.image_predictor import ImagePredictor
from harness.inference.tile_store import TileFolder
from harness.results.trained_trial import TrainedTrial

TILES = ".tiles"
"""Folder of finished tiles below the output folder. It is removed with the last of them."""


@dataclass(frozen=True)
class Tiling:
    """When and how images are divided.

    side: of a tile in pixels, with its margins. always: small images too. folder: where finished tiles are kept.
    each: called after each tile with the name of the image, the number of tiles done and that of all.
    """

    folder: Path
    side: int = TILE
    always: bool = False
    each: Callable[[str, int, int], None] = lambda name, done, total: None


@dataclass
class Outcome:
    """What was predicted.

    sizes: (height, width) by image id. cells: how many were found, by image id.
    bad: a line for each image that could not be read. notes: what was done to images, and to how many.
    """

    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    cells: dict[str, int] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)


def predict_files(
    model: Model,
    task: Task,
    trial: TrainedTrial,
    paths: Iterable[Path],
    writers: Sequence[Writer],
    tiling: Tiling,
) -> Outcome:
    """Predict one image after the other, as the run predicted its validation images.

    An image of more than WHOLE_PIXELS is predicted tile by tile; a smaller one too where the memory does not suffice
    or it holds more cells than the network can give at once.

    Args:
        model: the trained model.
        task: what it was built for.
        trial: its trial, for the rule, the minimum score and the precision.
        paths: of the images. Those that cannot be read, or that the model fails on, are left out.
        writers: each gets every image.
        tiling: how large images are divided.

    Raises:
        HarnessError: the model returns something that is not a prediction.
    """
    outcome = Outcome()
    predictor = ImagePredictor(model, task, trial, tiling.side, tiling.always)
    for path in paths:
        try:
            image = opened(path)
        except HarnessError as error:
            outcome.bad.append(str(error))
            continue
        store: TileFolder | None = None

        def open_store(path: Path = path, size: tuple[int, int] = image.size) -> TileFolder:
            nonlocal store
            store = _tile_folder(path, size, predictor, trial, tiling.folder)
            return store

        try:
            found, notes = predictor.predict(image, open_store, partial(tiling.each, path.name))
        except HarnessError:
            raise
        except Exception as error:  # such as an image too small for a network: the other images are still predicted
            reason, size = one_line(error) or type(error).__name__, f"{image.size[0]}x{image.size[1]}"
            outcome.bad.append(f"{one_line(path.name)}: the model cannot predict an image of {size}: {reason}")
            continue
        outcome.notes.update(image.notes)
        outcome.notes.update(notes)
        kept = apply_rule(found, trial.rule, task.classes)
        whole = image.read(0, 0, *image.size) if image.size[0] * image.size[1] <= WHOLE_PIXELS else None
        outcome.sizes[path.stem], outcome.cells[path.stem] = image.size, len(kept)
        for writer in writers:
            writer.add(PredictedImage(path.stem, path.name, whole, kept))
        if store is not None:
            store.remove()
    return outcome


def opened(path: Path) -> WindowedImage:
    """The image, decoded whole where it is small. Raises HarnessError."""
    if path.suffix.lower() in (".tif", ".tiff", ZARR_SUFFIX):
        try:
            image = open_image(path)
        except HarnessError as error:
            raise HarnessError(f"{one_line(path.name)}: {error}") from error
        if image.size[0] * image.size[1] > WHOLE_PIXELS or path.is_dir():
            return image
    return WholeImage(*read(path))


def _tile_folder(
    path: Path, size: tuple[int, int], predictor: ImagePredictor, trial: TrainedTrial, folder: Path
) -> TileFolder:
    """Where finished tiles of an image are kept, for this model and this division alone."""
    facts = path.stat()
    image = [path.name, facts.st_size, facts.st_mtime_ns, size]
    make_folder(folder)
    return TileFolder(folder / path.name, trial=trial.spec.key, image=image, work=predictor.facts(size))
