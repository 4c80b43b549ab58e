"""Scoring beside the peers' own: the same 200 images, jittered copies of their masks, one run, ratios.

    python -m pip install -e .[test,bench]
    pytest benchmarks/bench_scoring.py --benchmark-only -s

Real images are used where HARNESS_DATA (or ../shared/data) holds `sartorius/`, synthetic ones elsewhere. Each side
starts from its own form of truth and predictions, ready in memory: run-length text for pycocotools, label images for
cellpose and StarDist, the places of set pixels for us, as a search over thresholds and areas has them; rows that start
from cropped masks and from run-length text are there too. pycocotools does the least: IoU alone, no overlap removal, no
matching.
cellpose and StarDist are measured where they are installed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import util
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from speed_rows import row

from harness.contract import Predictions
from harness.data.sources import load
from harness.evaluation.ground_truth import GroundTruth, TruthPixels
from harness.evaluation.iou_map import image_curve
from harness.evaluation.mask_pixels import MaskPixels
from harness.evaluation.matching import THRESHOLDS, match
from harness.evaluation.overlap import make_disjoint, remove_overlaps
from harness.masks.crops import CropMasks
from harness.masks.rle import from_rle, to_rle

MIN_AREA = 20
OURS = "ours: overlaps, matching, thresholds"
REPEATS = 5
TARGETS = {"pycocotools: IoU alone": 1.0, "cellpose: average_precision": 15.0}


class Images:
    """Truth and jittered predictions of every image, in each side's form."""

    def __init__(self) -> None:
        folder = Path(os.environ.get("HARNESS_DATA", Path(__file__).parents[2] / "shared" / "data")) / "sartorius"
        data = load(f"sartorius:{folder}" if folder.is_dir() else "synthetic:images=40,size=512")
        rng = np.random.default_rng(0)
        self.truth = [GroundTruth.of(data[i]) for i in range(len(data))]
        self.predictions = [jittered(image, rng) for image in self.truth]
        self.cells = float(np.mean([len(image.cells) for image in self.truth]))

    def targets(self) -> list[TruthPixels]:
        return [image.pixels() for image in self.truth]

    def run_lengths(self) -> list[tuple[list[dict], list[dict]]]:
        def coded(masks: CropMasks, size: tuple[int, int]) -> list[dict]:
            return [{"size": list(size), "counts": text.encode()} for text in to_rle(masks, *size)]

        pairs = zip(self.truth, self.predictions, strict=True)
        return [(coded(truth.cells, truth.size), coded(found.masks, found.size)) for truth, found in pairs]

    def label_images(self) -> tuple[list[NDArray[np.int32]], list[NDArray[np.int32]]]:
        """Overlaps already removed; of truth and of predictions."""
        same = [
            Predictions(image.size, image.cells, np.ones(len(image.cells), np.float32), image.labels)
            for image in self.truth
        ]
        return [labels_of(p) for p in same], [labels_of(p) for p in self.predictions]


def jittered(truth: GroundTruth, rng: np.random.Generator) -> Predictions:
    """Each cell moved by up to two pixels each way, kept inside the image, with a random score."""
    height, width = truth.size
    boxes = truth.cells.boxes.copy()
    move = rng.integers(-2, 3, (len(boxes), 2))
    move = np.clip(move, -boxes[:, :2], np.asarray([width, height]) - boxes[:, 2:])
    moved = CropMasks((boxes + np.tile(move, 2)).astype(np.int32), truth.cells.pixels, truth.cells.offsets)
    return Predictions(truth.size, moved, rng.random(len(boxes)).astype(np.float32), truth.labels)


def labels_of(predictions: Predictions) -> NDArray[np.int32]:
    flat = make_disjoint(predictions)
    numbers = flat.numbers(len(predictions)) + 1
    return numbers.astype(np.int32)[flat.labels].reshape(predictions.size)


def sides(images: Images) -> dict[str, Callable[[int], object]]:
    """What each side does with image i."""
    from pycocotools import mask as coco

    texts = [
        (to_rle(truth.cells, *truth.size), to_rle(found.masks, *truth.size))
        for truth, found in zip(images.truth, images.predictions, strict=True)
    ]
    targets, run_lengths, (truth, found) = images.targets(), images.run_lengths(), images.label_images()

    pixels = [MaskPixels.of(found.masks, found.size[1]) for found in images.predictions]

    def score(i: int, target: TruthPixels, places: MaskPixels | None) -> float:
        return float(image_curve(match(make_disjoint(images.predictions[i], MIN_AREA, places), target)).mean())

    def score_text(i: int) -> float:
        image, (cells, masks) = images.truth[i], texts[i]
        found = replace(images.predictions[i], masks=from_rle(masks, *image.size))
        target = replace(image, cells=from_rle(cells, *image.size)).pixels()
        return float(image_curve(match(make_disjoint(found, MIN_AREA), target)).mean())

    def iou_alone(i: int) -> object:
        cells, masks = run_lengths[i]
        return coco.iou(masks, cells, [0] * len(cells))

    work: dict[str, Callable[[int], object]] = {
        OURS: lambda i: score(i, targets[i], pixels[i]),
        "ours: from the predictions' crops": lambda i: score(i, targets[i], None),
        "ours: from the crops of both": lambda i: score(i, images.truth[i].pixels(), None),
        "ours: from run-length text of both": score_text,
        "ours: disjoint masks, for a submission": lambda i: remove_overlaps(images.predictions[i], MIN_AREA),
        "pycocotools: IoU alone": iou_alone,
    }
    if util.find_spec("cellpose"):
        from cellpose.metrics import average_precision

        work["cellpose: average_precision"] = lambda i: average_precision(
            truth[i], found[i], threshold=list(THRESHOLDS)
        )
    if util.find_spec("stardist"):
        from stardist.matching import matching

        work["stardist: matching"] = lambda i: matching(truth[i], found[i], thresh=THRESHOLDS)
    return work


@pytest.mark.timeout(1800)
def test_scoring_beside_peers(benchmark: BenchmarkFixture) -> None:
    """Time all sides in turns on each image, several times. The minimum counts, since other load only adds time."""
    images = Images()
    work = sides(images)
    least = {name: np.full(len(images.truth), np.inf) for name in work}
    scores: list[float] = []

    def round_of_all() -> None:
        scores.clear()
        for i in range(len(images.truth)):
            for name, one in work.items():
                for _ in range(REPEATS):
                    start = time.perf_counter()
                    result = one(i)
                    least[name][i] = min(least[name][i], time.perf_counter() - start)
                if name == OURS:
                    scores.append(float(result))  # type: ignore[arg-type]

    benchmark.pedantic(round_of_all, rounds=1)
    # jittered copies score between 0 and 1
    assert 0.2 < np.mean(scores) < 0.95
    print(f"\n{len(images.truth)} images, {images.cells:.0f} cells each on average; milliseconds an image")
    for name, seconds in least.items():
        print(f"{name:40}{1000 * seconds.mean():8.3f}{seconds.sum() / least[OURS].sum():8.1f} x ours")
    milliseconds = {name: 1000 * float(seconds.mean()) for name, seconds in least.items()}
    benchmark.extra_info["rows"] = [
        row(
            f"overlap removal, matching and scoring, against {name}",
            milliseconds[OURS],
            "ms/image",
            TARGETS.get(name),
            peer,
        )
        for name, peer in milliseconds.items()
        if not name.startswith("ours")
    ]
