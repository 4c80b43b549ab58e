"""Trains a network on painted cells, so that any data set can start from it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.catalog import Catalog
from harness.config.budget import Budget
from harness.config.precision import Precision
from harness.config.preset import Preset, check_settings
from harness.config.trial_spec import trial_key
from harness.contract import Init, Model, Predictions, Recipe, Sample, Task, init_part
from harness.data.painted.camera import MEAN, STANDARD_DEVIATION
from harness.data.readers.painted import CLASSES, PAINTER_CODE
from harness.errors import HarnessError
from harness.evaluation.calibration import choose_rule
from harness.evaluation.ground_truth import GroundTruth
from harness.evaluation.schema import PostprocessRule
from harness.evaluation.scorer import iou_map
from harness.fileio import make_folder
from harness.inference.predictor import predict_all
from harness.monitoring.flops import parameters
from harness.monitoring.machine import git_commit, machine_facts, package_versions, utc_now
from harness.monitoring.progress import ProgressFile
from harness.orchestration.trial.work import limit_compiling
from harness.stacks import Resolved, resolve
from harness.training import device as devices
from harness.training.painted_file import Card, Making, quantised, read_card, restored, write_painted
from harness.training.painted_stream import PaintedStream
from harness.training.painted_weights import Network, painted_folder
from harness.training.trainer import Trainer

CELLS = (9.0, 45.0)
"""Sides of the median cells that are painted, in pixels of the network: around the 20 that preset auto brings cells to
(harness.config.fit.BEST_SIDE), and wide enough for data whose scale is not fitted."""
HELD_OUT = 24
"""Images for the choice of the rule, and as many for the score."""
HELD_OUT_SIDE = 160


@dataclass(frozen=True)
class Pretraining:
    """One network to train on painted cells.

    method: that it is trained as. path: of the file of its weights.
    """

    method: str
    recipe: Recipe
    network: Network
    preset: Preset
    budget: str
    seed: int = 0
    device: str = "cpu"
    precision: Precision = "auto"
    without: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def path(self) -> Path:
        return (self.folder or painted_folder()) / self.network.file_name()

    @property
    def work_folder(self) -> Path:
        """Of checkpoints: another one where anything that is trained differs."""
        preset = self.preset.model_dump(mode="json", include={"size", "training", "model"})
        facts = {name: getattr(self, name) for name in ("budget", "seed", "precision", "without")}
        facts |= {"architecture": self.network.architecture, "device": self.device.partition(":")[0]}
        return self.path.parent / f"work-{trial_key(**facts, preset=preset, code=PAINTER_CODE)}"

    def is_done(self) -> bool:
        """Whether the file is there and was made by the same painter, from this seed and with this budget."""
        try:
            card = read_card(self.path)
        except HarnessError:
            return False
        made = (card.code, card.seed, card.budget, card.without, card.settings)
        return made == (PAINTER_CODE, self.seed, self.budget, self.without, self.network.settings)


def networks(
    catalog: Catalog, stacks: Sequence[str], preset: Preset, tell: Callable[[str], None], **how: Any
) -> list[Pretraining]:
    """The networks behind these methods, each once. tell: called with a line for each method that has none.

    Raises HarnessError where a method or an option is unknown, or needs a package that is missing.
    """
    found: dict[str, Pretraining] = {}
    for stack in stacks:
        resolved = resolve(catalog, stack, preset.size, Init())
        resolved.require_packages()
        check_settings(preset, resolved)
        if not can_start_painted(resolved):
            tell(f"{resolved.name} takes no initial weights: nothing to pretrain")
            continue
        recipe = _full_labels(resolved.recipe, catalog, preset)
        network = Network.of(recipe, preset.model)
        found.setdefault(network.key(), Pretraining(resolved.name, recipe, network, preset, **how))
    return list(found.values())


def can_start_painted(resolved: Resolved) -> bool:
    """Whether the engine of a stack reads the init slot."""
    engine = next((method for method in resolved.methods if "engine" in method.parts), None)
    return engine is None or "init" in engine.supported_slots


def _full_labels(recipe: Recipe, catalog: Catalog, preset: Preset) -> Recipe:
    """The recipe from scratch and with every label: those of painted cells cost nothing."""
    baseline, own = catalog.baseline.parts, {}
    if recipe.engine.factory == baseline["engine"].factory:
        own = {slot: baseline[slot].sized(preset.size).checked() for slot in ("supervision", "augment")}
    return recipe.with_parts(init=init_part("scratch"), **own)


def pretrain(work: Pretraining, command: str, progress: ProgressFile) -> Card:
    """Train the network, or continue where it was stopped, and write its file.

    Raises:
        Interrupted: it was asked to stop; a checkpoint has been written, and the same work continues from it.
        HarnessError, Diverged: see harness.results.status.
    """
    training = work.preset.training
    devices.select_device(work.device)
    devices.keep_freed_memory()
    devices.seed(work.seed, deterministic=work.device != "cpu")
    model: Model = work.recipe.engine.build(work.recipe, _task(work))
    limit_compiling(model, Budget.parse(work.budget))
    total, trainable = parameters(model)
    if not trainable:
        raise HarnessError(f"{work.method} learns nothing: there is nothing to pretrain")
    stream = PaintedStream(training.batch, training.crop, work.seed, CELLS, work.without)
    make_folder(work.work_folder)
    trainer = Trainer(
        model=model,
        stream=stream,
        training=training,
        budget=Budget.parse(work.budget),
        device=work.device,
        folder=work.work_folder,
        progress=progress,
        precision=work.precision,
    )
    trace = trainer.run()
    state = {name: value.detach().cpu().numpy() for name, value in model.module.state_dict().items()}
    unrounded, _ = _score(work, model, stream)
    _load_rounded(model, state)
    card = _card(work, len(trace), total, *_score(work, model, stream), unrounded)
    making = Making(
        seconds=round(trace.used_seconds, 1),
        command=command,
        finished=utc_now(),
        machine={**machine_facts(), "arithmetic": devices.arithmetic(work.device, work.precision)},
        versions=package_versions(),
        git_commit=git_commit(),
    )
    write_painted(work.path, state, card, making)
    shutil.rmtree(work.work_folder, ignore_errors=True)
    return card


def _task(work: Pretraining) -> Task:
    crop = work.preset.training.crop
    return Task(
        classes=CLASSES,
        pixel_mean=(MEAN, MEAN, MEAN),
        pixel_std=(STANDARD_DEVIATION, STANDARD_DEVIATION, STANDARD_DEVIATION),
        crop=crop,
        max_cells=(HELD_OUT_SIDE // 8) ** 2,
        max_size=(HELD_OUT_SIDE, HELD_OUT_SIDE),
        seed=work.seed,
        device=work.device,
        settings=work.preset.model,
        cell_diameter=float(np.sqrt(CELLS[0] * CELLS[1])),
        largest_cell=round(1.5 * CELLS[1]),
    )


def _load_rounded(model: Model, state: dict[str, Any]) -> None:
    """The weights as the file will hold them."""
    import torch

    rounded = restored(quantised(state))
    model.module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in rounded.items()})


def _score(work: Pretraining, model: Model, stream: PaintedStream) -> tuple[float, PostprocessRule]:
    """Mean IoU score on held-out painted images, and the rule, which is chosen on others."""
    minimum = work.preset.evaluation.minimum_score

    def found(samples: Sequence[Sample]) -> dict[str, Predictions]:
        return predict_all(model, samples, len(CLASSES), work.device, minimum, precision=work.precision).found

    parts = [stream.held_out(HELD_OUT, HELD_OUT_SIDE, part) for part in (0, 1)]
    truths = [{sample.image_id: GroundTruth.of(sample) for sample in part} for part in parts]
    rule = choose_rule(found(parts[0]), truths[0], CLASSES)
    return iou_map(found(parts[1]), truths[1], rule, CLASSES), rule


def _card(
    work: Pretraining, iterations: int, total: int, score: float, rule: PostprocessRule, unrounded: float
) -> Card:
    reads = work.recipe.engine.settings
    anchored = reads is not None and "anchor_scale" in reads.model_fields
    return Card(
        method=work.method,
        architecture=work.network.architecture,
        settings=work.network.settings,
        budget=work.budget,
        seed=work.seed,
        iterations=iterations,
        code=PAINTER_CODE,
        cells=CELLS,
        without=work.without,
        training=work.preset.training.model_dump(mode="json"),
        anchor_scale=work.preset.model.get("anchor_scale") if anchored else None,
        mean=MEAN,
        std=STANDARD_DEVIATION,
        parameters=total,
        score=round(score, 4),
        score_unrounded=round(unrounded, 4),
        threshold=rule.score_thresholds[CLASSES[0]],
        min_area=rule.min_areas[CLASSES[0]],
    )
