"""Copy-Paste beside peers that hold a plane per cell: the same images, the same share of cells, one run, ratios.

    pytest benchmarks/bench_copy_paste.py --benchmark-only

Real images are used where HARNESS_DATA (or ../shared/data) holds `sartorius/`, synthetic ones elsewhere. Each side
starts from its own form of the samples, ready in memory. The package segpaste is measured where it is installed
(python -m pip install --no-deps segpaste==0.2.0); it pastes as many cells as the others, each at a place it looks for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from peers_dense_copy_paste import Dense, dense_copy_paste, segpaste_objects, segpaste_target
from pytest_benchmark.fixture import BenchmarkFixture

from harness.augment.copy_paste import Paste
from harness.augment.flips import RandomFlip
from harness.augment.window import RandomWindow
from harness.contract import Augment, Sample
from harness.data.sources import load

CELLS = 200
CROP = 256
SHARE, SIGMA = 0.5, 1.0
OURS = "ours: whole image"
MEDIANS: dict[str, float] = {}


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """The eight images whose numbers of cells are nearest to CELLS, all of the same size."""
    folder = Path(os.environ.get("HARNESS_DATA", Path(__file__).parents[2] / "shared" / "data")) / "sartorius"
    data = load(f"sartorius:{folder}" if folder.is_dir() else "synthetic:images=8,size=512")
    order = sorted(range(len(data)), key=lambda i: abs(len(data[i].instances) - CELLS))
    return [data[i] for i in order[:8]]


class PoolOf:
    """Draws among samples, each brought through some steps."""

    def __init__(self, samples: list[Sample], steps: tuple[Augment, ...] = ()) -> None:
        self.samples, self.steps = samples, steps

    def draw(self, rng: np.random.Generator, cell_type: str | None = None) -> Sample:
        return through(self.samples[rng.integers(len(self.samples))], self.steps, rng, self)


def through(sample: Sample, steps: tuple[Augment, ...], rng: np.random.Generator, pool: PoolOf) -> Sample:
    for step in steps:
        sample = step(sample, rng, pool)
    return sample


def measure(benchmark: BenchmarkFixture, name: str, work: Callable[[], object]) -> None:
    work()
    benchmark(work)
    MEDIANS[name] = benchmark.stats.stats.median


def test_ours(benchmark: BenchmarkFixture, samples: list[Sample]) -> None:
    paste, rng, pool, turn = (
        Paste(pct_objects_paste=SHARE, sigma=SIGMA),
        np.random.default_rng(0),
        PoolOf(samples),
        cycle(samples),
    )
    measure(benchmark, OURS, lambda: paste(next(turn), rng, pool))


def test_dense(benchmark: BenchmarkFixture, samples: list[Sample]) -> None:
    dense = [Dense.of(sample) for sample in samples]
    rng, turn = np.random.default_rng(0), cycle(dense)
    measure(
        benchmark,
        "dense planes",
        lambda: dense_copy_paste(next(turn), dense[rng.integers(len(dense))], SHARE, SIGMA, rng),
    )


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
    measure(benchmark, "segpaste 0.2.0", lambda: augment.transform(next(turn), objects[rng.integers(len(objects))]))


@pytest.mark.parametrize("pasting", [False, True])
def test_training_sample(benchmark: BenchmarkFixture, samples: list[Sample], pasting: bool) -> None:
    """What pasting adds to one training crop, the other image's way through window and flips included."""
    steps: tuple[Augment, ...] = (RandomWindow(CROP, 0.5, 2.0), RandomFlip())
    pool, rng, turn = PoolOf(samples, steps), np.random.default_rng(0), cycle(samples)
    chain = (*steps, Paste()) if pasting else steps
    name = f"ours: crop of {CROP}, {'with' if pasting else 'without'} paste"
    measure(benchmark, name, lambda: through(next(turn), chain, rng, pool))


@pytest.fixture(scope="module", autouse=True)
def table(request: pytest.FixtureRequest, samples: list[Sample]) -> Iterator[None]:
    """Prints the medians and their ratios when all has been measured."""
    yield
    capture = request.config.pluginmanager.getplugin("capturemanager")
    cells = [len(sample.instances) for sample in samples]
    with capture.global_and_fixture_disabled():
        print(f"\n\n{len(samples)} images of {samples[0].size}, {min(cells)} to {max(cells)} cells")
        for name, median in MEDIANS.items():
            ratio = f"{median / MEDIANS[OURS]:8.1f} x ours" if OURS in MEDIANS and "ours" not in name else ""
            print(f"{name:32}{median * 1e3:10.2f} ms{ratio}")
