"""Time to the IoU that stock detectron2 reaches: its recipe from scratch for 180 s, ours in the least of a few budgets.

    pytest benchmarks/bench_time_to_iou.py --benchmark-only -s

Both train the same network on the same training images and are scored, off the clock, by our scorer with the rule
that our search finds on the calibration images. The peer: dataset dicts, DatasetMapper, train loader, SimpleTrainer,
its SGD schedule scaled to its seconds, the best of three learning rates; as many steps as fit, its speed measured
first, off the clock. Ours: `python -m harness run`, once for each budget, each with a schedule of its own; nothing is
interpolated. The smallest budget whose IoU is at least the peer's is the time it takes.

BENCH_PEER_SECONDS: 180. BENCH_BUDGETS: seconds of ours, 45,65,90,135,180. BENCH_RATES: of the peer. BENCH_DEVICE.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import our_side
import pytest
import torch
from speed_rows import format_rows, row

from harness.config.preset import Preset, load_preset
from harness.evaluation.calibration import choose_rule
from harness.evaluation.scorer import iou_map
from harness.orchestration.prepared_data import PreparedData, prepare_data
from harness.results.io import read_record, record_paths
from harness.training.device import synchroniser

ROOT = Path(__file__).parents[1]
PEER_SECONDS = float(os.environ.get("BENCH_PEER_SECONDS", 180))
BUDGETS = tuple(float(text) for text in os.environ.get("BENCH_BUDGETS", "45,65,90,135,180").split(","))
RATES = tuple(float(text) for text in os.environ.get("BENCH_RATES", "0.02,0.04,0.08").split(","))
"""The zoo's 0.02 for 16 images is 0.005 for 4; in 60 steps it learned less than a tenth of what 0.02 did. On
synthetic cells 0.01 came to IoU 0.46 once, 0.02 to 0.53 and 0.50, 0.04 to 0.55 and 0.48; 0.08 diverged, and on
a machine that fits in 629 steps came to 0.54."""
WORKERS = 4 if our_side.on_gpu() else 2
PROBE_STEPS = 12
"""Steps whose times tell how many fit."""
TARGET = 1 / 0.33 if our_side.on_gpu() else 1 / 0.5


@dataclass(frozen=True)
class Reached:
    """Result of a training. seconds: on its training clock."""

    iou: float
    seconds: float
    steps: int


@dataclass
class Peer:
    """Stock detectron2 on one data set; `folder` takes its image files."""

    prepared: PreparedData
    preset: Preset
    folder: Path

    def __post_init__(self) -> None:
        import stock_detectron2 as stock

        self.stock, train = stock, self.prepared.splits.train
        task = our_side.task_of(self.prepared.dataset, self.preset.model, self.preset.training.crop, train)
        self.config = stock.config(task, self.preset.size, self.preset.training.batch)
        # as detectron2 loads data sets: images without annotations are left out
        samples = [sample for sample in self.prepared.samples(train) if len(sample.instances)]
        self.batches: Iterator[Any] = iter(
            stock.loader(self.config, stock.dataset_dicts(samples, stock.written(samples, self.folder)), WORKERS)
        )
        self.wait = synchroniser(our_side.DEVICE)

    def steps_in(self, seconds: float) -> int:
        probe, times = self.stock.trainer(self.config, self.batches), []
        for _ in range(PROBE_STEPS):
            begin = time.perf_counter()
            self.stock.step(probe)
            self.wait()
            times.append(time.perf_counter() - begin)
        return max(1, round(seconds / float(np.median(times[PROBE_STEPS // 3 :]))))

    def trained(self, rate: float, steps: int) -> Reached:
        """The whole schedule at that rate, scored; IoU 0 where it diverges."""
        from detectron2.solver import build_lr_scheduler

        config = self.config.clone()
        self.stock.schedule(config, rate, steps)
        torch.manual_seed(0)
        trainer = self.stock.trainer(config, self.batches)
        scheduler = build_lr_scheduler(config, trainer.optimizer)
        self.wait()
        begin = time.perf_counter()
        try:
            for _ in range(steps):
                self.stock.step(trainer)
                scheduler.step()
        except FloatingPointError:  # what detectron2 raises where a loss or a box is not finite
            return Reached(0.0, time.perf_counter() - begin, trainer.iter)
        self.wait()
        seconds = time.perf_counter() - begin
        return Reached(self.score(trainer.model.state_dict()), seconds, steps)

    def score(self, weights: dict[str, torch.Tensor]) -> float:
        predictor, splits = self.stock.predictor(self.config, weights), self.prepared.splits
        found = {
            part: {
                sample.image_id: self.stock.as_predictions(predictor(self.stock.bgr(sample))["instances"], sample.size)
                for sample in self.prepared.samples(getattr(splits, part))
            }
            for part in ("calibration", "validation")
        }
        classes = self.prepared.dataset.classes
        rule = choose_rule(found["calibration"], self.prepared.truth(splits.calibration), classes)
        return iou_map(found["validation"], self.prepared.truth(splits.validation), rule, classes)


def ours(source: str, preset: str, seconds: float, out: Path) -> Reached:
    """The baseline by the command that a user types."""
    command = [sys.executable, "-m", "harness", "run", "--methods", "mask_rcnn", "--data", source, "--preset", preset]
    command += ["--budget", f"{seconds:g}s", "--device", our_side.DEVICE, "--out", str(out), "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
    record = read_record(next(iter(record_paths(out))))
    assert record.scores is not None
    assert record.cost.train_seconds is not None
    return Reached(record.scores.iou_map, record.cost.train_seconds, record.cost.iterations or 0)


def source_of(name: str) -> tuple[str, str]:
    """The data source of that name and the preset for it."""
    if name == "synthetic":
        return "synthetic", "standard" if our_side.on_gpu() else "quick"
    folder = our_side.sartorius()
    if folder is None:
        pytest.skip("needs Sartorius images; HARNESS_DATA names the folder that holds sartorius/")
    # the quick preset with fewer images to predict, each of which takes a CPU seconds
    return f"sartorius:{folder}", "standard" if our_side.on_gpu() else str(Path(__file__).with_name("sartorius.toml"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools, a mask: to keep them would slow the peer
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("name", ["synthetic", "sartorius"])
def test_time_to_iou(benchmark: Any, name: str, tmp_path: Path) -> None:
    pytest.importorskip("detectron2")
    source, preset = source_of(name)
    prepared = prepare_data(source, False, load_preset(preset))
    peers: dict[float, Reached] = {}
    mine: dict[float, Reached] = {}

    def measure() -> None:
        peer = Peer(prepared, load_preset(preset), tmp_path)
        steps = peer.steps_in(PEER_SECONDS)
        for rate in RATES:
            peers[rate] = peer.trained(rate, steps)
            print(f"\npeer, rate {rate:g}: {peers[rate]}", flush=True)
        del peer  # its loader's processes end before ours begin
        for seconds in BUDGETS:
            mine[seconds] = ours(source, preset, seconds, tmp_path / f"{seconds:g}")
            print(f"\nours, {seconds:g} s: {mine[seconds]}", flush=True)
            if mine[seconds].iou >= best_of(peers).iou:
                break

    benchmark.pedantic(measure, rounds=1)
    best = best_of(peers)
    assert best.iou > 0, "the peer learned nothing: no time to compare with"
    # infinite where no budget was enough
    reached = min((one.seconds for one in mine.values() if one.iou >= best.iou), default=math.inf)
    tried = "; ".join(f"IoU {one.iou:.3f} in {one.seconds:.0f} s, {one.steps} steps" for one in mine.values())
    rates = "; ".join(f"{one.iou:.3f} at rate {rate:g}, {one.steps} steps" for rate, one in peers.items())
    note = f"{prepared.facts.images} images. Ours: {tried}. Peer, the best is taken: {rates}"
    rows = [row(f"time to IoU {best.iou:.3f}, {name}", reached, "s", TARGET, best.seconds, note=note)]
    benchmark.extra_info["rows"] = rows
    print(format_rows(rows))


def best_of(peers: dict[float, Reached]) -> Reached:
    return max(peers.values(), key=lambda one: one.iou)
