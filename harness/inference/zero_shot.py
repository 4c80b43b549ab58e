"""A model for images that nobody has labelled: weights learned on painted cells, as they are.

What it finds is a first set of masks to correct. Nothing is trained, so only two things are fitted to the images: their
grey levels, by which they are normalised, and the scale at which their cells are as large as the network knows best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.catalog import Catalog
from harness.config.fit import BEST_SIDE, KEPT, MAX_SCALE
from harness.config.preset import AUTO, Preset, load_preset, with_settings
from harness.config.tiling import WHOLE_PIXELS
from harness.config.trial_spec import TrialSpec, recipe_to_json, trial_key
from harness.contract import Init, Model, Recipe, StartingWeights, Task, init_part
from harness.data.readers.painted import CLASSES
from harness.data.statistics import statistics_of
from harness.data.windows import WindowedImage
from harness.errors import HarnessError
from harness.evaluation.schema import PostprocessRule
from harness.inference.predict_files import opened
from harness.inference.scaled import at_scale
from harness.inference.sizes import typical_side
from harness.results.trained_trial import TrainedTrial
from harness.stacks import resolve
from harness.training.device import select_device
from harness.training.painted_file import Card, read_card, sha256_of
from harness.training.painted_weights import find_start

PAINTED = "painted"
"""What `predict --model` calls it."""
IMAGES = 6
"""So many images, evenly from all, say what the grey levels are and how large the cells."""
DENSITY = 1 / BEST_SIDE**2
"""Cells per pixel of the network that there is room for."""
LARGEST = 3.0
"""The largest cells are taken to be so many times as large as the typical one. Tiles overlap by so much."""
MIDDLE = 2048
"""Side in pixels of what is looked at of a large image."""
PATCH = 256
"""Side, in pixels of the network, of the image that the limits on detections are for; larger ones have more."""


@dataclass(frozen=True)
class Options:
    """weights: as of the init `painted`; None to look for them."""

    weights: str | None = None


@dataclass(frozen=True)
class ZeroShot:
    """The model, what it was built for, its specification and rule, and what was chosen, in a sentence."""

    model: Model
    task: Task
    trial: TrainedTrial
    said: str


def zero_shot(
    images: Sequence[NDArray[np.uint8]],
    catalog: Catalog,
    device: str,
    diameter: float | None = None,
    method: str | None = None,
    minimum_score: float | None = None,
) -> ZeroShot:
    """The model for images of one kind.

    Args:
        images: (H, W) or (H, W, 3), some of them (`some_images`).
        catalog: the methods that there are.
        device: "cpu", "mps" or "cuda[:N]".
        diameter: of a typical cell in pixels of the images; None to estimate it.
        method: whose network predicts; None for the baseline.
        minimum_score: of predictions that are of use; None for the lowest that the rule keeps.

    Raises:
        HarnessError: there are no weights for the method, or their file is damaged.
    """
    preset = load_preset(AUTO)
    recipe = resolve(catalog, method or catalog.baseline.name, preset.size, Init()).recipe
    start = find_start(recipe, Options(), 0, preset.model)
    assert start.path is not None
    if start.new_parts:
        raise HarnessError(
            f"no weights learned on painted cells for the mask head of {method}; type: "
            f"python -m harness pretrain --methods {method}"
        )
    card = read_card(Path(start.path))
    if card.anchor_scale is not None:
        preset = with_settings(preset, {"model.anchor_scale": card.anchor_scale})
    task = _task(preset, images, device)
    said = f"cells are {diameter:.3g} pixels, as you say" if diameter else ""
    side = diameter
    if side is None:
        side = typical_side(_build(recipe, task, start), images, len(CLASSES), device)
        said = f"cells look {side:.3g} pixels across, by the network itself; --diameter says it better"
    scale = _scale(side)
    preset = with_settings(preset, {"model.scale": scale})
    said += "" if scale == 1 else f"; the network sees images at {scale:g} of their size"
    spec = _spec(recipe, preset, card, start, [device.partition(":")[0], scale, task.pixel_mean, task.pixel_std])
    rule = PostprocessRule(
        score_thresholds={CLASSES[0]: card.threshold or 0.5},
        min_areas={CLASSES[0]: max(1, round((card.min_area or 0) / scale**2))},
        chosen_on="held-out painted images",
    )
    minimum = rule.lowest_score() if minimum_score is None else minimum_score
    task = replace(task, cell_diameter=side * scale, largest_cell=round(LARGEST * side), minimum_score=minimum)
    model = at_scale(_build(recipe, task, start), scale)
    return ZeroShot(model, task, TrainedTrial(Path(), spec, rule), f"{start.source}: {said}")


def _scale(side: float) -> float:
    """As preset auto has it."""
    best = BEST_SIDE / side
    return 1.0 if KEPT[0] <= best <= KEPT[1] else float(f"{min(best, MAX_SCALE):.2g}")


def some_images(paths: Sequence[Path]) -> list[NDArray[np.uint8]]:
    """Pixels of IMAGES images, evenly from all that can be read; of a large one its middle.

    Raises HarnessError, of the first image, where none can be read.
    """
    found: list[NDArray[np.uint8]] = []
    problem: HarnessError | None = None
    order = np.unique(np.linspace(0, len(paths) - 1, min(IMAGES, len(paths))).round().astype(int))
    for index in [*order, *(k for k in range(len(paths)) if k not in order)]:
        if len(found) == len(order) or (found and index not in order):
            break
        try:
            found.append(_middle(opened(paths[index])))
        except HarnessError as error:
            problem = problem or error
    if not found:
        assert problem is not None
        raise problem
    return found


def _middle(image: WindowedImage) -> NDArray[np.uint8]:
    height, width = image.size
    if height * width <= WHOLE_PIXELS:
        return image.read(0, 0, height, width)
    tall, wide = min(height, MIDDLE), min(width, MIDDLE)
    top, left = (height - tall) // 2, (width - wide) // 2
    return image.read(top, left, top + tall, left + wide)


def _task(preset: Preset, images: Sequence[NDArray[np.uint8]], device: str) -> Task:
    """What the network is built for: images of these grey levels, full of cells of the size that it knows."""
    mean, std = statistics_of(images)
    return Task(
        classes=CLASSES,
        pixel_mean=mean,
        pixel_std=(max(std[0], 1.0), max(std[1], 1.0), max(std[2], 1.0)),
        crop=preset.training.crop,
        max_cells=round(DENSITY * PATCH**2),
        max_size=(PATCH, PATCH),
        device=device,
        settings=preset.model,
    )


def _build(recipe: Recipe, task: Task, start: StartingWeights) -> Model:
    """With the weights as the file holds them. Raises HarnessError where they do not fit."""
    select_device(task.device)
    init = init_part(start.kind, start.path, PAINTED, classes=list(start.classes))
    built = recipe.with_parts(init=init)
    model: Model = built.engine.build(built, task)
    model.module.eval()
    return model


def _spec(recipe: Recipe, preset: Preset, card: Card, start: StartingWeights, how: Sequence[Any]) -> TrialSpec:
    """A specification, for those who predict and write. how: what its key follows from, beside the weights."""
    assert start.path is not None
    return TrialSpec(
        key=trial_key(weights=sha256_of(Path(start.path)), how=list(how)),
        method=PAINTED,
        seed=card.seed,
        source=PAINTED,
        data_fingerprint="",
        split_fingerprint="",
        budget=card.budget,
        preset=preset,
        recipe=recipe_to_json(recipe),
        slots_changed=[],
    )
