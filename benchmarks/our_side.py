"""Shared by the benchmarks of networks: images, their task, and this project's model and trainer."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from harness.catalog import load_catalog
from harness.config.budget import Budget
from harness.config.precision import Precision
from harness.config.preset import InputSettings, Training
from harness.contract import Augment, Init, Model, Recipe, Sample, Task
from harness.data.dataset import Dataset
from harness.data.sources import load
from harness.data.statistics import pixel_statistics
from harness.inference.scaled import at_scale
from harness.monitoring.progress import ProgressFile
from harness.stacks import resolve
from harness.training import optimiser
from harness.training.device import has_bfloat16
from harness.training.stream import TrainingStream
from harness.training.trainer import Trainer
from harness.transforms.resize import scaled_size

DEVICE = os.environ.get("BENCH_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")

REHEARSAL = bool(os.environ.get("BENCH_REHEARSAL"))
"""Run everything at the smallest size, as a test. The figures mean nothing."""

IN_BFLOAT16 = has_bfloat16(DEVICE) and not os.environ.get("BENCH_FLOAT32")
"""Whether ours is measured in bfloat16 too. BENCH_FLOAT32=1 where the processor is told to do without."""

CLOCK = time.process_time if os.environ.get("BENCH_CPU_TIME") else time.perf_counter
"""BENCH_CPU_TIME=1, with OMP_NUM_THREADS=1: seconds of this process, on a machine with other work on it."""


def precision() -> Precision:
    """Of our side: what a run takes by itself, or float32 where nothing else is measured."""
    return "auto" if IN_BFLOAT16 else "float32"


def on_gpu() -> bool:
    return DEVICE.startswith("cuda")


def sartorius() -> Path | None:
    """The folder of the competition's images, where HARNESS_DATA or ../shared/data holds it."""
    folder = Path(os.environ.get("HARNESS_DATA", Path(__file__).parents[2] / "shared" / "data")) / "sartorius"
    return folder if (folder / "train.csv").is_file() else None


def images() -> Dataset:
    """Real images if available, else synthetic ones of the same size and density."""
    if REHEARSAL:
        return load("synthetic:images=16,size=96")
    folder = sartorius()
    return load(f"sartorius:{folder}" if folder else "synthetic:images=60,size=520x704,density=1")


def task_of(dataset: Dataset, settings: Mapping[str, Any], crop: int, train: Sequence[str] | None = None) -> Task:
    """The task that a run would build its parts for, with these images for training; all of them by default."""
    ids = dataset.ids if train is None else tuple(train)
    mean, std = pixel_statistics(dataset, ids)
    scale = InputSettings.read(settings).scale
    return Task(
        classes=dataset.classes,
        pixel_mean=mean,
        pixel_std=std,
        crop=round(crop * scale),
        max_cells=max(len(dataset.sample(image_id).instances) for image_id in ids),
        max_size=scaled_size(dataset.max_size, scale),
        device=DEVICE,
        settings=settings,
    )


def recipe_of(size: Literal["small", "full"], method: str = "mask_rcnn") -> Recipe:
    """The baseline, or another method, from scratch."""
    return resolve(load_catalog(), method, size, Init("scratch")).recipe


def build(recipe: Recipe, task: Task) -> Model:
    torch.manual_seed(0)
    return at_scale(recipe.engine.build(recipe, task), InputSettings.read(task.settings).scale)


def trainer_of(
    model: Model,
    recipe: Recipe,
    task: Task,
    dataset: Dataset,
    training: Training,
    folder: Path,
    budget: str,
) -> Trainer:
    """The trainer that a run would make. It has its optimiser already, so that single steps can be done."""
    augments: Augment | Sequence[Augment] = recipe.augment.build(task)
    stream = TrainingStream(
        dataset,
        range(len(dataset)),
        list(augments) if isinstance(augments, Sequence) else [augments],
        recipe.supervision.build(task),
        training.batch,
        seed=0,
        scale=InputSettings.read(task.settings).scale,
    )
    trainer = Trainer(model, stream, training, Budget.parse(budget), DEVICE, folder, ProgressFile())
    trainer.optimiser = optimiser.build(model.module, training)
    return trainer


def nearest_to(dataset: Dataset, cells: int, count: int) -> list[Sample]:
    """The images whose numbers of cells are nearest to `cells`."""
    order = sorted(range(len(dataset)), key=lambda i: abs(dataset.cells_per_image[i] - cells))
    return [dataset[i] for i in order[:count]]
