"""Predicts images of any size with a trained model: whole where they are small, else tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Instances, Model, Predictions, Sample, Task
from harness.data.windows import WindowedImage
from harness.evaluation.calibration import apply_rule
from harness.inference.predictor import predict_all
from harness.inference.scaled import tiles_of
from harness.inference.tiles import TILE, Grid, NoStore, TileStore, predict_in_tiles
from harness.masks.crops import CropMasks
from harness.results.status import is_out_of_memory
from harness.results.trained_trial import TrainedTrial

WHOLE_PIXELS = 2**23
"""Pixels of the largest image that is predicted as a whole where nothing else is asked for."""

FULL = 0.95
"""A network has given all it can where it gave this share of its most detections: some masks turn out empty."""

CROWDED = 0.7
"""An image has more cells than a network can give where the rule keeps this share of all it gave.

A network that has hardly learned gives all it can of any image, however small, and its masks lie on one another: of
LIVECell images 0.33 to 0.58 of them were kept. After 75 s, 0.78 were where there were more cells than it can give.
"""


class ImagePredictor:
    """A trained model with its settings of prediction."""

    def __init__(self, model: Model, task: Task, trial: TrainedTrial, side: int = TILE, always: bool = False) -> None:
        """side: of a tile in pixels, with its margins. always: small images are predicted in tiles too."""
        self._model, self._task, self._spec, self._always = model, task, trial.spec, always
        # the memory is that of the image as the network sees it
        preset = trial.spec.preset
        scale = max(preset.scale, *preset.scale_by_size.values(), 0)
        self._whole_pixels = WHOLE_PIXELS / scale**2
        self._grid = Grid.of(task.largest_cell, round(side / scale))
        self._rule = trial.rule

    def facts(self) -> list[Any]:
        """What decides, beside model and image, what is found on a tile."""
        return [self._grid.core, self._grid.margin, self._task.device.partition(":")[0], self._spec.precision]

    def predict(
        self,
        image: WindowedImage,
        open_store: Callable[[], TileStore] = NoStore,
        each: Callable[[int, int], None] = lambda done, total: None,
    ) -> tuple[Predictions, list[str]]:
        """What is found before any rule, and notes on how.

        Args:
            image: of any size.
            open_store: called where the image is predicted in tiles; keeps those that are done.
            each: called after each tile with the number of tiles done and that of all.

        Raises:
            HarnessError: the model returns something that is not a prediction, or no tile fits the memory.
        """
        height, width = image.size
        notes = []
        if height * width <= self._whole_pixels and not self._always:
            try:
                found = self._found(image.read(0, 0, height, width))
                if not self._is_full(found):
                    return found, []
                notes.append("more cells than the network can give at once: predicted in tiles")
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                notes.append("not enough memory for the whole image: predicted in tiles")
        with tiles_of(self._model, image.size):
            done = predict_in_tiles(
                image, self._found, self._grid, is_full=self._is_full, store=open_store(), each=each
            )
        side = self._grid.core + 2 * self._grid.margin
        return done.found, [*notes, f"predicted in tiles of {side} pixels, which overlap", *done.notes]

    def _found(self, pixels: NDArray[np.uint8]) -> Predictions:
        no_cells = Instances.of_masks(CropMasks.empty(), np.zeros(0, np.int64))
        sample, minimum = Sample("image", pixels, no_cells), self._spec.preset.evaluation.minimum_score
        classes, precision = len(self._task.classes), self._spec.precision
        found, _ = predict_all(self._model, [sample], classes, self._task.device, minimum, precision=precision)
        return found["image"]

    def _is_full(self, found: Predictions) -> bool:
        """Whether the network has given as many cells as it can, and the rule keeps most of them."""
        most = getattr(self._model, "max_detections", None)
        if most is None or not len(found) or len(found) < FULL * most(found.size):
            return False
        if float(found.scores.min()) < self._rule.lowest_score():
            return False
        return len(apply_rule(found, self._rule, self._task.classes)) >= CROWDED * len(found)
