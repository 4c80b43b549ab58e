"""Copy-Paste beside peers that hold a plane per cell: the same images, the same share of cells, one run, ratios.

    pytest benchmarks/bench_copy_paste.py --benchmark-only -s

Real images are used where HARNESS_DATA (or ../shared/data) holds `sartorius/`, synthetic ones elsewhere. Each side
starts from its own form of the samples, ready in memory. The package segpaste is measured where it is installed
(python -m pip install --no-deps segpaste==0.2.0); it pastes as many cells as the others, each at a place it looks for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from peers_dense_copy_paste import Dense, dense_copy_paste, segpaste_objects, segpaste_target
from pytest_benchmark.fixture import BenchmarkFixture
from speed_rows import format_rows, row

from harness.contract import Sample
from harness.data.sources import load
from methods.copy_paste import CopyPasteOptions
from methods.copy_paste.transform import Paste

CELLS = 200
SHARE, SIGMA = 0.5, 1.0
TARGET = 20.0
RATES: dict[str, float] = {}


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """The eight images whose numbers of cells are nearest to CELLS, all of the same size."""
    folder = Path(os.environ.get("HARNESS_DATA", Path(__file__).parents[2] / "shared" / "data")) / "sartorius"
    data = load(f"sartorius:{folder}" if folder.is_dir() else "synthetic:images=8,size=512")
    order = sorted(range(len(data)), key=lambda i: abs(len(data[i].instances) - CELLS))
    return [data[i] for i in order[:8]]


class PoolOf:
    """Draws among samples."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples

    def draw(self, rng: np.random.Generator, cell_type: str | None = None) -> Sample:
        return self.samples[rng.integers(len(self.samples))]


def measure(benchmark: BenchmarkFixture, name: str, work: Callable[[], object]) -> None:
    work()
    benchmark(work)
    RATES[name] = 1 / benchmark.stats.stats.median


def beside_ours(benchmark: BenchmarkFixture, samples: list[Sample], name: str) -> None:
    if "ours" not in RATES:
        return  # only the test of the peer was selected
    counts = [len(sample.instances) for sample in samples]
    told_of = f"{len(samples)} images of {samples[0].size}, {min(counts)} to {max(counts)} cells"
    work = f"copy_paste on whole images, against {name}"
    rows = [row(work, RATES["ours"], "images/s", TARGET, RATES[name], more_is_better=True, note=told_of)]
    benchmark.extra_info["rows"] = rows
    print(format_rows(rows))


def test_ours(benchmark: BenchmarkFixture, samples: list[Sample]) -> None:
    paste, rng, pool, turn = (
        Paste(CopyPasteOptions(pct_objects_paste=SHARE, sigma=SIGMA)),
        np.random.default_rng(0),
        PoolOf(samples),
        cycle(samples),
    )
    measure(benchmark, "ours", lambda: paste(next(turn), rng, pool))


def test_dense(benchmark: BenchmarkFixture, samples: list[Sample]) -> None:
    dense = [Dense.of(sample) for sample in samples]
    rng, turn = np.random.default_rng(0), cycle(dense)
    measure(
        benchmark,
        "dense planes",
        lambda: dense_copy_paste(next(turn), dense[rng.integers(len(dense))], SHARE, SIGMA, rng),
    )
    beside_ours(benchmark, samples, "dense planes")


def test_segpaste(benchmark: BenchmarkFixture, samples: list[Sample]) -> None:
    segpaste = pytest.importorskip("segpaste")
    targets = [segpaste_target(Dense.of(sample)) for sample in samples]
    objects = [segpaste_objects(target) for target in targets]
    number = int(SHARE * min(len(cells) for cells in objects))
    config = segpaste.CopyPasteConfig(
        paste_probability=1.0,
        min_paste_objects=number,
        max_paste_objects=number,
        min_object_edge=1,
        min_object_area=1,
    )
    augment = segpaste.CopyPasteAugmentation(config)
    rng, turn = np.random.default_rng(0), cycle(targets)
    measure(benchmark, "segpaste", lambda: augment.transform(next(turn), objects[rng.integers(len(objects))]))
    beside_ours(benchmark, samples, "segpaste")
