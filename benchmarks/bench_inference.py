"""A whole image to stored run lengths: the baseline beside detectron2's predictor and pycocotools' encoder.

    pytest benchmarks/bench_inference.py --benchmark-only -s

The same weights on both sides, with as many proposals and detections allowed, on 520 x 704 images of about 300 cells.
Ours is predicted as a run predicts, then written as run lengths; detectron2's predictor is followed by what its COCO
evaluator does to keep a mask. The weights are trained for a short while first, so that as many cells are found as a
user would have, and kept in the user's cache folder. Sides take turns, image by image, and medians are compared.
BENCH_PRESET: quick on a CPU, standard on a GPU; BENCH_TRAIN: how long to train; BENCH_ROUNDS; BENCH_DEVICE.
BENCH_FLOAT32, BENCH_CPU_TIME: see our_side.py.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import our_side
import pytest
import torch
from speed_rows import format_rows, row

from harness.config.preset import Preset, load_preset
from harness.contract import Model, Recipe, Sample, Task
from harness.data.dataset import Dataset
from harness.data.store.cache import cache_folder
from harness.masks.rle import to_rle
from harness.training.checkpoint import WEIGHTS, load_weights, save_weights
from harness.training.device import arithmetic, autocast, synchroniser

CELLS, IMAGES = 300, 4
WARM_UP = 1
TARGET = 3.0 if our_side.on_gpu() else 2.0
Work = Callable[[Sample], int]


def trained(preset: Preset, recipe: Recipe, task: Task, dataset: Dataset, folder: Path) -> Model:
    """Our model after a short training, from the cache where it has been trained before."""
    model = our_side.build(recipe, task)
    budget = os.environ.get("BENCH_TRAIN", "300it")
    shapes = [(name, tuple(value.shape)) for name, value in model.module.state_dict().items()]
    key = hashlib.sha256(repr((dataset.fingerprint, preset, budget, shapes)).encode()).hexdigest()[:16]
    kept = cache_folder().parent / "benchmarks" / key
    if not (kept / WEIGHTS).is_file():
        our_side.trainer_of(model, recipe, task, dataset, preset.training, folder, budget).run()
        kept.mkdir(parents=True, exist_ok=True)
        save_weights(kept, model.module)
    load_weights(kept, model.module)
    return model


def default_preset() -> str:
    return "smoke" if our_side.REHEARSAL else "standard" if our_side.on_gpu() else "quick"


def ours(model: Model, context: Callable[[], AbstractContextManager[Any]]) -> Work:
    def work(sample: Sample) -> int:
        with torch.no_grad(), context():
            (found,) = model.predict([sample.image])
        return len(to_rle(found.masks, *sample.size))

    model.module.eval()
    return work


def theirs(task: Task, preset: Preset, model: Model) -> Work:
    import stock_detectron2 as stock

    config = stock.config(task, preset.size, preset.training.batch)
    predictor = stock.predictor(config, stock.weights_of(model.module))
    return lambda sample: len(stock.stored(predictor(stock.bgr(sample))))


def by_turns(sides: dict[str, Work], samples: list[Sample], rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds and detections an image: medians over rounds, means over images."""
    wait = synchroniser(our_side.DEVICE)
    times = {name: np.zeros((rounds, len(samples))) for name in sides}
    found = {name: np.zeros(len(samples)) for name in sides}
    for turn in range(-WARM_UP, rounds):
        for i, sample in enumerate(samples):
            for name, work in sides.items():
                wait()
                begin = our_side.CLOCK()
                found[name][i] = work(sample)
                wait()
                if turn >= 0:
                    times[name][turn, i] = our_side.CLOCK() - begin
    seconds = {name: float(np.median(values, axis=0).mean()) for name, values in times.items()}
    return seconds, {name: float(values.mean()) for name, values in found.items()}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools, a mask: to keep them would slow the peer
@pytest.mark.timeout(3600)
def test_inference(benchmark: Any, tmp_path: Path) -> None:
    pytest.importorskip("detectron2")
    preset = load_preset(os.environ.get("BENCH_PRESET", default_preset()))
    dataset = our_side.images()
    recipe = our_side.recipe_of(preset.size)
    # proposals and detections are capped as for a data set whose fullest image has that many cells
    task = replace(our_side.task_of(dataset, preset.model, preset.training.crop), max_cells=CELLS)
    model = trained(preset, recipe, task, dataset, tmp_path)
    sides = {
        "ours": ours(model, lambda: autocast(our_side.DEVICE, our_side.precision())),
        "peer": theirs(task, preset, model),
    }
    if our_side.IN_BFLOAT16:
        sides["ours, float32"] = ours(model, nullcontext)
    samples = our_side.nearest_to(dataset, CELLS, IMAGES)
    rounds = int(os.environ.get("BENCH_ROUNDS", 30 if our_side.on_gpu() else 5))
    seconds: dict[str, float] = {}
    found: dict[str, float] = {}

    def measure() -> None:
        for to, values in zip((seconds, found), by_turns(sides, samples, rounds), strict=True):
            to.update(values)

    benchmark.pedantic(measure, rounds=1)
    if not our_side.REHEARSAL:
        # both sides find a similar, realistic number of cells
        assert found["peer"] > CELLS / 3
        assert abs(found["ours"] - found["peer"]) < 0.1 * found["peer"]

    cells = np.mean([len(sample.instances) for sample in samples])
    height, width = samples[0].size
    what = f"whole image {height}x{width} to stored RLE, {preset.name} preset, {cells:.0f} cells"
    kind = arithmetic(our_side.DEVICE, our_side.precision())
    note = f"{kind}; detections an image: ours {found['ours']:.0f}, peer {found['peer']:.0f}"
    rows = [row(what, seconds["ours"], "s", TARGET, seconds["peer"], note=note)]
    if "ours, float32" in seconds:
        rows.append(row(f"the same in float32, {cells:.0f} cells", seconds["ours, float32"], "s", peer=seconds["peer"]))
    benchmark.extra_info["rows"] = rows
    print(format_rows(rows))
