"""LIVECell's protocol against pycocotools with the settings that its script sets."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
from coco_reference import Images, coco_sides
from pycocotools.cocoeval import COCOeval
from random_cells import blobs, jittered, predictions_of, truth_of

from harness.evaluation import livecell
from harness.evaluation.livecell import LivecellScorer

AREAS = {"all": [0, 1e5**2], "small": [0, 18**2], "medium": [18**2, 31**2], "large": [31**2, 1e5**2]}


def reference(images: Images, most: int) -> dict[str, float]:
    one_class = [
        (replace(p, labels=np.zeros_like(p.labels)), replace(t, labels=np.zeros_like(t.labels))) for p, t in images
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(*coco_sides(one_class, 1), "segm")
        run.params.catIds = [1]
        run.params.useCats = 0
        run.params.maxDets = [1, 2, most]
        run.params.areaRng, run.params.areaRngLbl = list(AREAS.values()), list(AREAS)
        run.evaluate()
        run.accumulate()
    precision, recall = run.eval["precision"][:, :, 0, :, 2], run.eval["recall"][:, 0, :, 2]

    def mean(values: np.ndarray) -> float:
        return float(values.mean()) if (values > -1).all() else np.nan

    sizes = {f"ap_{name}": mean(precision[..., a]) for a, name in enumerate(AREAS) if name != "all"}
    whole = precision[..., 0]
    return {
        "ap": mean(whole),
        "ap50": mean(whole[0]),
        "ap75": mean(whole[5]),
        **sizes,
        "afnr": 1 - mean(recall[:, 0]),
    }


def data_set(rng: np.random.Generator) -> Images:
    """Cells of both sides of 18^2 and 31^2 pixels, of two classes that the protocol does not look at."""
    images = []
    for _ in range(int(rng.integers(1, 4))):
        cells = blobs(rng, int(rng.integers(0, 9)), (50, 60), largest=int(rng.choice([10, 40])))
        crowd = blobs(rng, int(rng.integers(0, 2)), (50, 60), largest=30)
        drawn = np.concatenate([jittered(rng, cells), jittered(rng, cells), blobs(rng, 2, (50, 60))])
        scores = rng.choice(np.linspace(0.1, 0.9, 7), len(drawn))
        labels = rng.integers(0, 2, len(cells))
        images.append((predictions_of(drawn, scores, rng.integers(0, 2, len(drawn))), truth_of(cells, labels, crowd)))
    return images


@pytest.mark.parametrize("most", [5, 2000])
def test_same_as_pycocotools_without_classes(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(livecell, "DETECTIONS", most)
    rng = np.random.default_rng(most)
    informative = 0
    for _ in range(20):
        images = data_set(rng)
        scorer = LivecellScorer()
        for predictions, truth in images:
            scorer.add(predictions, truth)
        expected = reference(images, most)
        assert scorer.result() == pytest.approx(expected, abs=1e-12, nan_ok=True)
        informative += 0.05 < expected["ap"] < 0.95
    assert informative > 10


def test_cells_that_nothing_finds_are_all_missed() -> None:
    rng = np.random.default_rng(0)
    cells = blobs(rng, 4, (50, 60), largest=20)
    scorer = LivecellScorer()
    scorer.add(predictions_of(cells[:0], np.zeros(0), np.zeros(0, np.int64)), truth_of(cells, np.zeros(4, np.int64)))
    assert (scorer.result()["ap"], scorer.result()["afnr"]) == (0, 1)
