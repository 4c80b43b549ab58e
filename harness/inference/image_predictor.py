"""Predicts images of any size with a trained model: whole where they are small, else tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.config.tiling import TILE
from harness.contract import Model, Predictions, Task
from harness.data.windows import WindowedImage
from harness.evaluation.calibration import apply_rule
from harness.inference.grid import TilingPolicy
from harness.inference.predictor import predict_image
from harness.inference.scaled import tiles_of
from harness.inference.tiles import NoStore, TileStore, predict_in_tiles
from harness.results.status import is_out_of_memory
from harness.results.trained_trial import TrainedTrial

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
        """side: of a tile and its margins, in pixels of the network. always: small images are divided too."""
        self._model, self._task, self._spec, self._always = model, task, trial.spec, always
        self._tiling = TilingPolicy.of(trial.spec.preset, task.largest_cell, side)
        self._rule = trial.rule

    def facts(self, size: tuple[int, int]) -> list[Any]:
        """What decides, beside model and image, what is found on a tile of an image of that height and width."""
        grid = self._tiling.grid(size)
        return [
            grid.core,
            grid.margin,
            self._task.device.partition(":")[0],
            self._spec.precision,
        ]

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
            HarnessError: the model returns something that is not a prediction.
            MemoryError: no tile fits the memory.
        """
        notes = []
        if not self._always and not self._tiling.applies_to(image.size):
            try:
                found = self._found(image.read(0, 0, *image.size))
                if not self._is_full(found):
                    return found, []
                notes.append("more cells than the network can give at once: predicted in tiles")
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                notes.append("not enough memory for the whole image: predicted in tiles")
        grid = self._tiling.grid(image.size)
        with tiles_of(self._model, image.size):
            done = predict_in_tiles(image, self._found, grid, is_full=self._is_full, store=open_store(), each=each)
        return done.found, [*notes, f"predicted in {grid}", *done.notes]

    def _found(self, pixels: NDArray[np.uint8]) -> Predictions:
        minimum, precision = self._spec.preset.evaluation.minimum_score, self._spec.precision
        return predict_image(self._model, pixels, len(self._task.classes), self._task.device, minimum, precision)[0]

    def _is_full(self, found: Predictions) -> bool:
        """Whether the network has given as many cells as it can, and the rule keeps most of them."""
        most = getattr(self._model, "max_detections", None)
        if most is None or not len(found) or len(found) < FULL * most(found.size):
            return False
        if float(found.scores.min()) < self._rule.lowest_score():
            return False
        return len(apply_rule(found, self._rule, self._task.classes)) >= CROWDED * len(found)
