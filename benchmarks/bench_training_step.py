"""One training step of the baseline beside detectron2's SimpleTrainer: seconds, memory, share of the matrix rate.

    pytest benchmarks/bench_training_step.py --benchmark-only -s

The same network from the same weights on the same images, each side's batch ready in its own form: forward, losses,
backward, optimiser. Both use SGD with momentum, at a rate so small that the weights, and so the work, stay what they
were. `small` is the quick preset's network on its crops; `full` is R50-FPN at full width on four windows of about 200
cells. Sides take turns, step by step, and medians are compared. Memory is measured apart, each side in a process of
its own. BENCH_ROUNDS: steps of each side; BENCH_DEVICE: cpu or cuda; BENCH_CROP: side of the windows of `full`.
BENCH_FLOAT32, BENCH_CPU_TIME: see our_side.py.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import our_side
import psutil
import pytest
import torch
from speed_rows import format_rows, row

from harness.config.preset import Training, load_preset
from harness.contract import Sample, Task
from harness.data.dataset import Dataset
from harness.platform.memory import gpu_peaks, peak_rss
from harness.training.device import arithmetic, synchroniser
from harness.transforms.instances import clip
from harness.transforms.window import RandomWindow

CELLS, BATCH = 200, 4
TINY_RATE = 1e-9
WARM_UP = 2
SPEED_TARGET, MEMORY_TARGET = (2.0, 1 / 0.5) if our_side.on_gpu() else (1.2, 1 / 0.7)
Step = Callable[[], None]


@dataclass(frozen=True)
class Case:
    """A network at a preset's size, and what it is trained on. windows: of CELLS cells, else as training crops them."""

    size: Literal["small", "full"]
    preset: str
    crop: int
    windows: bool
    scale: float
    rounds: int
    method: str = "mask_rcnn"
    batch: int = BATCH

    def task(self, dataset: Dataset) -> Task:
        return our_side.task_of(dataset, {**load_preset(self.preset).model, "scale": self.scale}, self.crop)

    def batches(self, dataset: Dataset) -> list[list[Sample]]:
        """Batches that are taken in turn."""
        if self.windows:
            return [windows_of(dataset, self.crop, self.batch)]
        rng, window = np.random.default_rng(0), RandomWindow(self.crop)
        crops = (window(dataset[i % len(dataset)], rng, None) for i in itertools.count())  # type: ignore[arg-type]
        # detectron2's mapper takes no image without a cell
        taken = list(itertools.islice((crop for crop in crops if len(crop.instances)), 8 * self.batch))
        return [taken[i : i + self.batch] for i in range(0, len(taken), self.batch)]


def full_case() -> Case:
    """On a CPU the windows are smaller and not enlarged: a step of the whole preset takes a minute on two cores."""
    if our_side.REHEARSAL:
        return Case("full", "smoke", 64, True, 1.0, 1)
    side = int(os.environ.get("BENCH_CROP", 512 if our_side.on_gpu() else 384))
    return Case("full", "standard", side, True, *((1.5, 40) if our_side.on_gpu() else (1.0, 5)))


CASES = {"small": Case("small", "quick", 128, False, 1.0, 40), "full": full_case()}
LARGE = replace(full_case(), method="mask_rcnn_x101", batch=2)
LARGE_GIB = 16.0
"""What the largest network of the zoo may take with two images."""
THROUGHPUT_BATCH, THROUGHPUT_TARGET = 16, 150.0
"""Images of a step, and images a second."""


def windows_of(dataset: Dataset, side: int, count: int) -> list[Sample]:
    """`count` windows of as many images whose numbers of cells come nearest to CELLS."""
    found: list[tuple[int, Sample]] = []
    for i in np.argsort(dataset.cells_per_image)[::-1][:40].tolist():
        sample = dataset[i]
        x, y = (sample.instances.boxes[:, k] + sample.instances.boxes[:, k + 2] for k in (0, 1))
        best = (len(x), 0, 0)
        for y0, x0 in itertools.product(*(range(0, extent - side + 1, 16) for extent in sample.size)):
            inside = (x >= 2 * x0) & (x < 2 * (x0 + side)) & (y >= 2 * y0) & (y < 2 * (y0 + side))
            best = min(best, (abs(int(inside.sum()) - CELLS), y0, x0))
        _, y0, x0 = best
        cells = clip(sample.instances, x0, y0, x0 + side, y0 + side)
        window = sample.with_(image=sample.image[y0 : y0 + side, x0 : x0 + side], instances=cells)
        found.append((abs(len(cells) - CELLS), window))
    return [window for _, window in sorted(found, key=lambda pair: pair[0])[:count]]


class Ours:
    """Steps of the harness's trainer."""

    def __init__(self, case: Case, dataset: Dataset, folder: Path) -> None:
        task, recipe = case.task(dataset), our_side.recipe_of(case.size, case.method)
        self.model = our_side.build(recipe, task)
        training = Training(crop=case.crop, batch=case.batch, optimiser="sgd", learning_rate=TINY_RATE)
        self.trainer = our_side.trainer_of(self.model, recipe, task, dataset, training, folder, "1it")
        self.trainer.precision = our_side.precision()
        self.model.module.train()

    def ready(self, batches: list[list[Sample]]) -> Step:
        turn = itertools.cycle(batches)

        def step() -> None:
            losses = self.trainer.train_step(next(turn), TINY_RATE)
            if not our_side.on_gpu():  # as in the trainer: losses are read after each step on a CPU, rarely on a GPU
                [float(value) for value in losses.values()]

        return step


class Peer:
    """Steps of detectron2's SimpleTrainer."""

    def __init__(self, case: Case, dataset: Dataset, folder: Path, weights: dict[str, torch.Tensor] | None) -> None:
        import stock_detectron2 as stock

        self.stock, self.folder = stock, folder
        self.config = stock.config(case.task(dataset), case.size, BATCH)
        self.config.SOLVER.BASE_LR = TINY_RATE
        self.trainer = stock.trainer(self.config, [], weights)

    def ready(self, batches: list[list[Sample]]) -> Step:
        from detectron2.data import DatasetMapper
        from detectron2.data import transforms as T

        samples = [sample for batch in batches for sample in batch]
        entries = self.stock.dataset_dicts(samples, self.stock.written(samples, self.folder))
        resize = T.ResizeShortestEdge(self.config.INPUT.MIN_SIZE_TRAIN, self.config.INPUT.MAX_SIZE_TRAIN, "choice")
        mapper = DatasetMapper(self.config, is_train=True, augmentations=[resize])
        mapped = [mapper(entry) for entry in entries]
        pieces = [mapped[i : i + BATCH] for i in range(0, len(mapped), BATCH)]
        self.trainer.reset_data_loader(lambda: itertools.cycle(pieces))
        return lambda: self.stock.step(self.trainer)


def seconds_by_turns(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """Median seconds of each step; the device is waited for."""
    wait = synchroniser(our_side.DEVICE)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(WARM_UP + rounds):
        for name, step in steps.items():
            wait()
            begin = our_side.CLOCK()
            step()
            wait()
            if turn >= WARM_UP:
                times[name].append(our_side.CLOCK() - begin)
    return {name: float(np.median(values)) for name, values in times.items()}


def operations_of(step: Step) -> int:
    """Floating-point operations of the matrix products and convolutions of a step."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def matrix_rate(dtype: torch.dtype, seconds: float = 2.0) -> float:
    """Operations a second of the best of many large matrix products in that arithmetic."""
    side, wait = (8192 if our_side.on_gpu() else 2048), synchroniser(our_side.DEVICE)
    a = torch.randn(side, side, device=our_side.DEVICE).to(dtype)
    best, end = float("inf"), our_side.CLOCK() + seconds
    while our_side.CLOCK() < end:
        wait()
        begin = our_side.CLOCK()
        a @ a
        wait()
        best = min(best, our_side.CLOCK() - begin)
    return 2 * side**3 / best


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools, a mask: to keep them would slow the peer
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", list(CASES))
def test_step(benchmark: Any, name: str, tmp_path: Path) -> None:
    pytest.importorskip("detectron2")
    case, dataset = CASES[name], our_side.images()
    batches = case.batches(dataset)
    ours = Ours(case, dataset, tmp_path)
    peer = Peer(case, dataset, tmp_path, weights_under_their_names(ours))
    our_step, peer_step = ours.ready(batches), peer.ready(batches)
    steps = {"ours": our_step, "peer": peer_step}
    if our_side.IN_BFLOAT16:
        steps["ours, float32"] = lambda: in_float32(ours, our_step)
    rounds = int(os.environ.get("BENCH_ROUNDS", case.rounds))
    seconds: dict[str, float] = {}
    benchmark.pedantic(lambda: seconds.update(seconds_by_turns(steps, rounds)), rounds=1)

    operations = operations_of(peer_step)
    cells = np.mean([len(sample.instances) for batch in batches for sample in batch])
    enlarged = "" if case.scale == 1 else f" enlarged {case.scale:g}x"
    what = f"{name} network, {BATCH} crops of {case.crop}{enlarged}, {cells:.0f} cells each"
    kind = arithmetic(our_side.DEVICE, our_side.precision())
    rate = {name: matrix_rate(getattr(torch, name)) for name in sorted({"float32", kind})}
    share = {side: operations / value / rate[kind_of(side, kind)] for side, value in seconds.items()}
    counted = (
        f"{operations / 1e12:.3g} TFLOP a step, counted on the peer's; the device's matrix rate, in TFLOP/s: "
        + ", ".join(f"{value / 1e12:.3g} in {name}" for name, value in rate.items())
    )
    how = kind + ("; backbone and proposal network compiled" if load_preset(case.preset).model.get("compile") else "")
    rows = [row(f"training step, {what}", seconds["ours"], "s", SPEED_TARGET, seconds["peer"], note=how)]
    if "ours, float32" in seconds:
        rows.append(row(f"the same in float32, {what}", seconds["ours, float32"], "s", peer=seconds["peer"]))
    for side in [name for name in seconds if name != "peer"]:
        used = kind_of(side, kind)
        rows.append(
            row(
                f"share of the matrix rate, {used}, {name} network",
                100 * share[side],
                "%",
                peer=100 * share["peer"],
                more_is_better=True,
                note=f"{counted}; each side beside the rate of its own arithmetic",
            )
        )
    if case.windows:
        peaks = {side: peak_of(side, name) for side in ("ours", "peer")}
        rows.append(row(f"peak memory, {what}", peaks["ours"], "MiB", MEMORY_TARGET, peaks["peer"], note=MEMORY_NOTE))
    benchmark.extra_info["rows"] = rows
    print(format_rows(rows))


@pytest.mark.timeout(3600)
@pytest.mark.skipif(not (our_side.on_gpu() or our_side.REHEARSAL), reason="its limit is that of a GPU")
def test_the_largest_network_fits(benchmark: Any) -> None:
    peak = benchmark.pedantic(peak_of, ("ours", "large"), rounds=1)
    work = f"peak memory, ResNeXt-101-32x8d, {LARGE.batch} crops of {LARGE.crop} enlarged {LARGE.scale:g}x"
    rows = [row(work, peak / 1024, "GiB", LARGE_GIB, note=MEMORY_NOTE)]
    benchmark.extra_info["rows"] = rows
    print(format_rows(rows))


@pytest.mark.timeout(3600)
@pytest.mark.skipif(not (our_side.on_gpu() or our_side.REHEARSAL), reason="its target is that of a GPU")
def test_throughput(benchmark: Any, tmp_path: Path) -> None:
    """Ours alone, on whole images as they are, in a batch that fills a GPU."""
    case, dataset = replace(CASES["full"], scale=1.0, batch=THROUGHPUT_BATCH), our_side.images()
    samples = our_side.nearest_to(dataset, CELLS, case.batch)
    step = Ours(case, dataset, tmp_path).ready([samples])
    seconds: dict[str, float] = {}
    rounds = int(os.environ.get("BENCH_ROUNDS", case.rounds))
    benchmark.pedantic(lambda: seconds.update(seconds_by_turns({"ours": step}, rounds)), rounds=1)
    height, width = samples[0].size
    work = f"training of an image, R50-FPN, {len(samples)} whole images of {height}x{width}"
    each = 1000 * seconds["ours"] / len(samples)
    note = f"{arithmetic(our_side.DEVICE)}; {1000 / each:.0f} images/s"
    rows = [row(work, each, "ms", 1000 / THROUGHPUT_TARGET, note=note)]
    benchmark.extra_info["rows"] = rows
    print(format_rows(rows))


def kind_of(side: str, kind: str) -> str:
    return kind if side == "ours" else "float32"


def in_float32(ours: Ours, step: Step) -> None:
    ours.trainer.precision = "float32"
    step()
    ours.trainer.precision = our_side.precision()


def weights_under_their_names(ours: Ours) -> dict[str, torch.Tensor]:
    import stock_detectron2 as stock

    return stock.weights_of(ours.model.module)


# --------------------------------------------------------------------------------------------- memory, in a process

MEMORY_NOTE = (
    "what tensors held at most on the device, weights included"
    if our_side.on_gpu()
    else "resident memory above that of the built model and optimiser: images, gradients, momentum, activations"
)


def peak_of(side: str, case: str) -> float:
    """MiB at most during steps of one side, in a fresh process."""
    done = subprocess.run([sys.executable, __file__, side, case], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the memory of {side} could not be measured:\n{done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])) / 2**20


def measure_peak(side: str, case: Case) -> int:
    """Bytes; see MEMORY_NOTE."""
    dataset = our_side.images()
    batches = case.batches(dataset)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = Ours(case, dataset, folder) if side == "ours" else Peer(case, dataset, folder, None)
        gc.collect()
        built = psutil.Process().memory_info().rss
        step = made.ready(batches)
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak
        for _ in range(2):  # momentum buffers exist from the second step on
            step()
        peaks = gpu_peaks(our_side.DEVICE)
        return peaks.allocated if peaks else peak_rss() - built


if __name__ == "__main__":
    print(measure_peak(sys.argv[1], {**CASES, "large": LARGE}[sys.argv[2]]))
