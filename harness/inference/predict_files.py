"""Predicts image files with a trained model, applies the rule of its run, and hands the result to writers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.contract import Instances, Model, Sample, Task
from harness.data.image_folder import read
from harness.errors import HarnessError, one_line
from harness.evaluation.calibration import apply_rule
from harness.inference.formats.writer import PredictedImage, Writer
from harness.inference.predictor import predict_all
from harness.masks.crops import CropMasks
from harness.results.trained_trial import TrainedTrial


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
    model: Model, task: Task, trial: TrainedTrial, paths: Iterable[Path], writers: Sequence[Writer]
) -> Outcome:
    """Predict one image after the other, as the run predicted its validation images.

    Args:
        model: the trained model.
        task: what it was built for.
        trial: its trial, for the rule, the minimum score and the precision.
        paths: of the images. Those that cannot be read, or that the model fails on, are left out.
        writers: each gets every image.

    Raises:
        HarnessError: the model returns something that is not a prediction.
    """
    outcome = Outcome()
    no_cells = Instances.of_masks(CropMasks.empty(), np.zeros(0, np.int64))
    for path in paths:
        try:
            image, notes = read(path)
        except HarnessError as error:
            outcome.bad.append(str(error))
            continue
        outcome.notes.update(notes)
        sample = Sample(path.stem, image, no_cells)
        minimum_score, precision = trial.spec.preset.evaluation.minimum_score, trial.spec.precision
        try:
            found, _ = predict_all(model, [sample], len(task.classes), task.device, minimum_score, precision=precision)
        except HarnessError:
            raise
        except Exception as error:  # such as an image too small for a network: the other images are still predicted
            reason, size = one_line(error) or type(error).__name__, f"{sample.size[0]}x{sample.size[1]}"
            outcome.bad.append(f"{one_line(path.name)}: the model cannot predict an image of {size}: {reason}")
            continue
        kept = apply_rule(found[path.stem], trial.rule, task.classes)
        outcome.sizes[path.stem], outcome.cells[path.stem] = sample.size, len(kept)
        for writer in writers:
            writer.add(PredictedImage(path.stem, path.name, image, kept))
    return outcome
