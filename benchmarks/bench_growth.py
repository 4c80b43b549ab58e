"""How the cost of an image grows with its cells and its size, and memory with the number of images.

    pytest benchmarks/bench_growth.py --benchmark-only -s

Cells: 10 to 3,000 on an image of 2048 x 2048. Size: images of 256 to 2048 pixels a side with 100 cells. Cells are
ellipses about 20 pixels wide, at random places. Each figure is the least processor time of several, on one core. The
exponent is the slope between logarithms over the upper end (from 100 cells, from 512 pixels): 1 is linear. Memory is
that of a process which reads every image of a packed set, in sets of growing number. Drawn into results/growth.png.
BENCH_ROUNDS: times that each is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from speed_rows import format_rows, row

from harness.contract import Instances, Predictions, Sample, Task
from harness.data.dataset import Dataset
from harness.data.store.pack import FileSink, Packer, digest, write_index
from harness.evaluation.ground_truth import GroundTruth
from harness.evaluation.iou_map import image_curve
from harness.evaluation.matching import match
from harness.evaluation.overlap import make_disjoint
from harness.fileio import make_folder
from harness.masks.crops import CropMasks
from harness.masks.rle import from_rle, to_rle
from harness.training.device import keep_freed_memory
from methods.copy_paste import CopyPasteOptions
from methods.copy_paste.transform import Paste
from methods.mask_rcnn import FlipOptions
from methods.mask_rcnn import augment as baseline
from methods.shared.paste_masks import paste_crops
from methods.shared.torch_masks import TorchMasks

CELLS, FULL = (10, 100, 1000, 3000), 2048
SIDES, FEW = (256, 512, 1024, 2048), 100
IMAGES = (375, 750, 1500, 3000)
FITTED_FROM = {"cells": 100, "side": 512}
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 15))
LINEAR = 1.1
"""Largest exponent that counts as linear. Cache misses make large images slightly slower."""
PICTURE = Path(__file__).parents[1] / "results" / "growth.png"
Work = Callable[[], object]
Curve = dict[int, float]
CURVES: dict[str, dict[str, Curve]] = {}
MEMORY: dict[int, dict[str, int]] = {}


def crowded(cells: int, side: int) -> Sample:
    """A grey image with that many ellipses at random places."""
    rng = np.random.default_rng(cells + side)
    half = rng.integers(6, 13, (cells, 2))
    centres = rng.integers(half, side - half)
    y, x = (np.arange(-12, 13)[:, None], np.arange(-12, 13))
    crops = []
    for a, b in half.tolist():
        inside = (x / a) ** 2 + (y / b) ** 2 <= 1
        crops.append(inside[12 - b : 13 + b, 12 - a : 13 + a])
    boxes = np.concatenate([centres - half, centres + half + 1], axis=1)
    # an ellipse at the lower or right edge would extend one pixel beyond the image
    boxes -= np.tile((boxes[:, 2:] > side).astype(np.int64), 2)
    masks = CropMasks.from_crops(boxes, crops)
    image = rng.integers(0, 256, (side, side), np.uint8)
    return Sample(f"{cells} on {side}", image, Instances.of_masks(masks, np.zeros(cells, np.int64)))


class PoolOf:
    """Gives one sample, again and again."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample

    def draw(self, rng: np.random.Generator, cell_type: str | None = None) -> Sample:
        return self.sample


def reading(sample: Sample) -> Work:
    """Read a sample from the pack, crop it to half its side, and mirror it."""
    dataset, side = Dataset.from_samples([sample], ["cell"]), sample.size[0] // 2
    steps = baseline.build(
        Task(("cell",), (128.0,) * 3, (64.0,) * 3, side, len(sample.instances), sample.size), FlipOptions()
    )
    rng, pool = np.random.default_rng(0), PoolOf(sample)

    def work() -> Sample:
        read = dataset[0]
        for step in steps:
            read = step(read, rng, pool)
        return read

    return work


def pasting_cells(sample: Sample) -> Work:
    paste, rng, pool = Paste(CopyPasteOptions()), np.random.default_rng(0), PoolOf(sample)
    return lambda: paste(sample, rng, pool)


def making_targets(sample: Sample) -> Work:
    assert sample.instances.masks is not None
    masks, boxes = sample.instances.masks, torch.from_numpy(sample.instances.boxes.astype(np.float32))
    return lambda: TorchMasks.from_images([masks], [sample.size], "cpu").roi_align(boxes, 28)


def scoring(sample: Sample) -> Work:
    """Overlap removal, matching and thresholds, with predictions slightly shifted from the truth."""
    truth, rng = GroundTruth.of(sample), np.random.default_rng(0)
    masks, (height, width) = truth.cells, sample.size
    move = rng.integers(-2, 3, (len(masks), 2))
    move = np.clip(move, -masks.boxes[:, :2], np.array([width, height]) - masks.boxes[:, 2:])
    moved = CropMasks((masks.boxes + np.tile(move, 2)).astype(np.int32), masks.pixels, masks.offsets)
    found = Predictions(sample.size, moved, rng.random(len(masks)).astype(np.float32), truth.labels)
    return lambda: image_curve(match(make_disjoint(found, 20), truth.pixels()))


def coding(sample: Sample) -> Work:
    assert sample.instances.masks is not None
    masks = sample.instances.masks
    return lambda: to_rle(masks, *sample.size)


def decoding(sample: Sample) -> Work:
    assert sample.instances.masks is not None
    texts = to_rle(sample.instances.masks, *sample.size)
    return lambda: from_rle(texts, *sample.size)


def pasting_predictions(sample: Sample) -> Work:
    boxes = torch.from_numpy(sample.instances.boxes.astype(np.float32))
    probabilities = torch.rand((len(boxes), 28, 28), generator=torch.Generator().manual_seed(0))
    return lambda: paste_crops(probabilities, boxes, sample.size)


WORKS: dict[str, Callable[[Sample], Work]] = {
    "reader: unpack and crop": reading,
    "copy_paste": pasting_cells,
    "mask targets": making_targets,
    "overlaps, matching, scoring": scoring,
    "run lengths: encode": coding,
    "run lengths: decode": decoding,
    "predictions: paste masks": pasting_predictions,
}


def quickest(work: Work) -> float:
    """Seconds of processor time."""
    work()
    times = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


def exponent(curve: Mapping[int, float], start: int) -> float:
    """Slope of the line through the logarithms from `start` on."""
    points = [(x, y) for x, y in curve.items() if x >= start]
    return float(np.polyfit(*np.log(points).T, 1)[0])


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", list(WORKS))
def test_growth(benchmark: BenchmarkFixture, name: str) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()  # as the process of a trial does

    def measure() -> dict[str, Curve]:
        return {
            "cells": {cells: quickest(WORKS[name](crowded(cells, FULL))) for cells in CELLS},
            "side": {side: quickest(WORKS[name](crowded(FEW, side))) for side in SIDES},
        }

    CURVES[name] = curves = benchmark.pedantic(measure, rounds=1)
    by_cells, by_side = (exponent(curves[what], FITTED_FROM[what]) for what in ("cells", "side"))
    costs = ", ".join(f"{1000 * seconds:.3g}" for seconds in curves["cells"].values())
    sizes = ", ".join(f"{1000 * seconds:.3g}" for seconds in curves["side"].values())
    rows = [
        row(f"{name}: growth with cells", by_cells, "exponent", LINEAR, note=f"{costs} ms at {CELLS} cells"),
        # of pixels, not of the side: an image of twice the side has four times the pixels
        row(
            f"{name}: growth with pixels", by_side / 2, "exponent", LINEAR, note=f"{sizes} ms at {SIDES} pixels a side"
        ),
    ]
    benchmark.extra_info["rows"] = rows
    benchmark.extra_info["seconds"] = curves
    print(format_rows(rows))
    draw()


# ------------------------------------------------------------------------------------- memory by number of images


def write_set(folder: Path, images: int) -> int:
    """A packed set as the cache has it, of as many images of Sartorius' size with 300 cells; its bytes."""
    drawn = [crowded(300, 704) for _ in range(4)]
    samples = [s.with_(image=np.ascontiguousarray(s.image[:520]), instances=top(s.instances, 520)) for s in drawn]
    make_folder(folder)
    with FileSink(folder) as sink:
        packer = Packer(sink)
        for i in range(images):
            sample = samples[i % len(samples)].with_(image_id=f"{i:05}")
            packer.add(sample, digest(sample))
        write_index(packer.finish(("cell",)), folder)
    return sum(path.stat().st_size for path in folder.iterdir())


def top(instances: Instances, height: int) -> Instances:
    return instances.select(instances.boxes[:, 3] <= height)


def read_set(folder: Path) -> dict[str, int]:
    """See memory_of_reading.py; in a fresh process."""
    script = Path(__file__).with_name("memory_of_reading.py")
    done = subprocess.run([sys.executable, str(script), str(folder)], capture_output=True, text=True, check=True)
    facts: dict[str, int] = json.loads(done.stdout)
    return facts


@pytest.mark.timeout(1800)
def test_memory(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    def measure() -> None:
        for images in IMAGES:
            size = write_set(tmp_path / str(images), images)
            MEMORY[images] = {**read_set(tmp_path / str(images)), "set": size}

    benchmark.pedantic(measure, rounds=1)
    grown = MEMORY[IMAGES[-1]]["peak"] - MEMORY[IMAGES[0]]["peak"]
    more = MEMORY[IMAGES[-1]]["set"] - MEMORY[IMAGES[0]]["set"]
    peaks = ", ".join(f"{facts['peak'] / 2**20:.0f}" for facts in MEMORY.values())
    sets = ", ".join(f"{facts['set'] / 2**20:,.0f}" for facts in MEMORY.values())
    note = f"peaks {peaks} MiB at {IMAGES} images, {sets} MiB packed"
    rows = [
        row("memory that a larger data set takes, of what it is larger by", 100 * grown / more, "%", 10.0, note=note)
    ]
    benchmark.extra_info["rows"] = rows
    benchmark.extra_info["bytes"] = MEMORY
    print(format_rows(rows))
    draw()


# --------------------------------------------------------------------------------------------------------- picture


def draw() -> None:
    """A panel per work and kind of growth, each with a linear line through its last point; and memory."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    width = max(len(CURVES), 1)
    figure, axes = pyplot.subplots(2, width + 1, figsize=(3 * (width + 1), 6), layout="constrained", squeeze=False)
    for column, (name, curves) in enumerate(CURVES.items()):
        for panel, (what, power) in zip(axes[:, column], (("cells", 1), ("side", 2)), strict=True):
            panel_of(panel, curves[what], power, FITTED_FROM[what])
            panel.set(title=name if what == "cells" else "", xlabel="cells" if what == "cells" else "side, pixels")
    axes[0, 0].set_ylabel("ms an image")
    axes[1, 0].set_ylabel("ms an image")
    memory_panel(axes[0, -1])
    axes[1, -1].axis("off")
    make_folder(PICTURE.parent)
    figure.savefig(PICTURE, dpi=80, metadata={"Software": None})
    pyplot.close(figure)


def panel_of(panel: Any, curve: Mapping[int, float], power: int, start: int) -> None:
    x, y = np.array(list(curve)), 1000 * np.array(list(curve.values()))
    label = "linear" if power == 1 else "linear in pixels"
    panel.loglog(x, y, "o-", label=f"exponent {exponent(curve, start) / power:.2f} from {start}")
    panel.loglog(x, y[-1] * (x / x[-1]) ** power, "--", color="grey", label=label)
    panel.set_xticks(x, [f"{v // 1000}k" if v % 1000 == 0 else str(v) for v in x.tolist()], fontsize=7)
    panel.minorticks_off()
    panel.legend(fontsize=8)


def memory_panel(panel: Any) -> None:
    images: Sequence[int] = list(MEMORY)
    panel.set(title="memory of reading a set", xlabel="images", ylabel="MiB")
    for name, label in (("peak", "resident at most"), ("set", "the packed set")):
        panel.plot(images, [MEMORY[n][name] / 2**20 for n in images], "o-", label=label)
    panel.legend(fontsize=8)
