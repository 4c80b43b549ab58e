"""What copy_paste adds to a training step, through the harness's own stream and trainer, and where that goes.

    pytest benchmarks/bench_copy_paste_step.py --benchmark-only -s

Trainings of the quick preset take turns, step by step, on the same images in the same order: the baseline, copy_paste's
scale jitter alone (p=0), and copy_paste, each with its own thread that makes the next batch during its step; then the
same on batches that are made beforehand. The difference of those last is what more cells cost in the loss; the rest of
the difference is what making the batches costs. One network serves all: trained beforehand, since the
proposals of an untrained one miss the cells, then at a rate so small that it stays as it is. Whole images: windows of
512 pixels, two a batch, whose cells are more than a step's loss takes in any case. BENCH_ROUNDS: steps of each.
BENCH_TRAINED: steps before; 0 for an untrained network.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import our_side
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from speed_rows import format_rows, row

from harness.catalog import load_catalog
from harness.config.preset import Training, load_preset
from harness.contract import Init
from harness.stacks import resolve
from harness.training.device import keep_freed_memory, synchroniser
from harness.training.prefetch import Batches, prefetched
from harness.training.trainer import Trainer

TARGET = 3.0
ROUNDS, SETTLING = int(os.environ.get("BENCH_ROUNDS", 120)), 4
TRAINED = int(os.environ.get("BENCH_TRAINED", 200))
WITHOUT, JITTER, WITH = METHODS = ("mask_rcnn", "copy_paste(p=0)", "copy_paste")
TINY_RATE = 1e-9


@dataclass(frozen=True)
class Case:
    """What is trained on. trained: steps before those that are timed."""

    name: str
    crop: int
    batch: int
    steps: int
    trained: int


CASES = (
    Case("crops of the quick preset", 64 if our_side.REHEARSAL else 128, 4, ROUNDS, TRAINED),
    Case("whole images", 96 if our_side.REHEARSAL else 512, 2, max(ROUNDS // 6, 1), TRAINED // 4),
)


@dataclass
class Side:
    """One of the trainings. seconds: of each step; making: processor seconds of each batch; cells: on each batch."""

    trainer: Trainer
    batches: Batches
    seconds: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    making: list[float] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)

    @staticmethod
    def live(trainer: Trainer) -> Side:
        return Side(trainer, prefetched(trainer.stream.batch, 0, our_side.DEVICE))

    @staticmethod
    def held(trainer: Trainer, steps: int) -> Side:
        """The making of these batches is timed. Beside a GPU, those of `live` are made in other processes."""
        batches, making = [], []
        for step in range(SETTLING + steps):
            begin = time.thread_time()
            batches.append(trainer.stream.batch(step))
            making.append(time.thread_time() - begin)
        return Side(trainer, (batch for batch in batches), making=making)

    def step(self) -> None:
        """A step as the trainer's loop has it: wait for the batch, work through it, look at the losses."""
        wait = synchroniser(our_side.DEVICE)
        wait()
        begin = time.perf_counter()
        batch = next(self.batches)
        waited = time.perf_counter() - begin
        losses = self.trainer.train_step(batch, TINY_RATE)
        if not our_side.on_gpu():
            [float(value) for value in losses.values()]
        wait()
        self.seconds.append(time.perf_counter() - begin)
        self.waits.append(waited)
        self.cells.append(sum(len(sample.instances) for sample in batch))


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_step(benchmark: BenchmarkFixture, tmp_path: Path, case: Case) -> None:
    keep_freed_memory()  # as the process of a trial does
    dataset, preset = our_side.images(), load_preset("quick")
    task = our_side.task_of(dataset, preset.model, case.crop)
    settings = {**preset.training.model_dump(), "crop": case.crop, "batch": case.batch}
    baseline = our_side.recipe_of("small")
    model = our_side.build(baseline, task)
    if case.trained:
        budget = f"{case.trained}it"
        our_side.trainer_of(model, baseline, task, dataset, Training(**settings), tmp_path, budget).run()
    model.module.train()
    training = Training(**{**settings, "learning_rate": TINY_RATE})

    def trainer(method: str) -> Trainer:
        recipe = resolve(load_catalog(), method, preset.size, Init("scratch")).recipe
        return our_side.trainer_of(model, recipe, task, dataset, training, tmp_path, f"{case.steps}it")

    live = {method: Side.live(trainer(method)) for method in METHODS}
    held = {method: Side.held(trainer(method), case.steps) for method in METHODS}

    def by_turns() -> None:
        for turn in range(SETTLING + case.steps):
            for sides in (live, held):
                # the order changes from turn to turn
                for method in METHODS[turn % 3 :] + METHODS[: turn % 3]:
                    sides[method].step()

    benchmark.pedantic(by_turns, rounds=1)
    for side in live.values():
        side.batches.close()
    rows = [line for method in (WITH, JITTER) for line in rows_of(live, held, method, case)]
    benchmark.extra_info["rows"] = rows
    print(format_rows(rows))


def added(sides: dict[str, Side], method: str) -> float:
    """Increase of the median step time over the baseline, in per cent."""
    return 100 * (median(sides[method]) / median(sides[WITHOUT]) - 1)


def median(side: Side) -> float:
    return float(np.median(side.seconds[SETTLING:]))


def uncertainty(sides: dict[str, Side], method: str) -> tuple[float, float]:
    """Of `added`: 95 % over resamplings of the turns."""
    pairs = np.array([sides[method].seconds[SETTLING:], sides[WITHOUT].seconds[SETTLING:]])
    steps = pairs.shape[1]
    turns = np.random.default_rng(0).integers(0, steps, (2000, steps))
    mine, theirs = np.median(pairs[:, turns], axis=2)
    low, high = np.percentile(100 * (mine / theirs - 1), [2.5, 97.5])
    return float(low), float(high)


def rows_of(live: dict[str, Side], held: dict[str, Side], method: str, case: Case) -> list[dict[str, Any]]:
    """What a method adds to the baseline's step, and its parts."""
    low, high = uncertainty(live, method)
    whole = (
        f"{median(live[method]):.4f} s against {median(live[WITHOUT]):.4f} s, medians of {case.steps} steps each by "
        f"turns, after {case.trained} of training; 95 % over the turns {low:+.1f} to {high:+.1f} %"
    )
    cells = f"{np.mean(live[method].cells):.0f} cells a batch against {np.mean(live[WITHOUT].cells):.0f}"
    making, before = (1000 * float(np.median(held[m].making)) for m in (method, WITHOUT))
    waits, waited = (100 * sum(live[m].waits) / sum(live[m].seconds) for m in (method, WITHOUT))
    made = (
        f"a batch takes {making:.1f} ms of one core against {before:.1f}, made beside the step, which waits for it "
        f"{waits:.2f} % of its time against {waited:.2f} %"
    )
    total, by_cells = added(live, method), added(held, method)
    return [
        row(
            f"{method}: added to a training step, {case.name}",
            total,
            "%",
            TARGET if method == WITH else None,
            note=whole,
        ),
        row(f"{method}: of which more cells in the loss, {case.name}", by_cells, "%", note=cells),
        row(f"{method}: of which making the batches, {case.name}", total - by_cells, "%", note=made),
    ]
