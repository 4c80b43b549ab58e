from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from random_cells import bars, blobs, jittered, predictions_of, truth_of

from harness.contract import Instances, Predictions, Sample
from harness.errors import HarnessError
from harness.evaluation.ground_truth import GroundTruth
from harness.evaluation.schema import PostprocessRule, Scores
from harness.evaluation.scorer import SCORING_VERSION, iou_map, score
from harness.masks.crops import CropMasks

CLASSES = ("cort", "astro")
RULE = PostprocessRule(score_thresholds=dict.fromkeys(CLASSES, 0.5), min_areas=dict.fromkeys(CLASSES, 1), chosen_on="")


def test_every_field_is_filled() -> None:
    rng = np.random.default_rng(0)
    cells = blobs(rng, 12, (120, 120), largest=60)
    truth = {"a": truth_of(cells, cell_type="cort"), "b": truth_of(cells[:4], cell_type="astro")}
    found = {"a": predictions_of(jittered(rng, cells)), "b": predictions_of(cells[:3])}
    scores = score(found, truth, RULE, CLASSES)
    empty = {name for name, value in scores.model_dump().items() if value is None or value == {}}
    # no cell of 96^2 pixels; columns of a protocol are filled where one is asked for
    assert empty == {"ap_large", "livecell"}
    assert scores.scoring_version == SCORING_VERSION


def test_means_go_over_images() -> None:
    truth = {
        "a": truth_of(bars((0, 0, 20)), cell_type="cort"),
        "b": truth_of(bars((0, 0, 20), (2, 0, 20), (4, 0, 20), (6, 0, 20)), cell_type="astro"),
        "c": truth_of(bars(), cell_type="astro"),
    }
    found = {name: predictions_of(bars((0, 0, 20))) for name in ("a", "b")} | {"c": predictions_of(bars())}
    scores = score(found, truth, RULE, CLASSES)
    assert scores.by_image == {"a": 1.0, "b": 0.25, "c": 1.0}
    assert scores.iou_map == 0.75
    assert scores.by_type == {"astro": 0.625, "cort": 1.0}
    assert scores.cell_types == {"a": "cort", "b": "astro", "c": "astro"}
    assert scores.by_threshold == {f"{0.5 + 0.05 * k:.2f}": 0.75 for k in range(10)}
    assert iou_map(found, truth, RULE, CLASSES) == 0.75


def test_survives_json() -> None:
    scores = score({"a": predictions_of(bars())}, {"a": truth_of(bars())}, RULE, CLASSES)
    assert Scores.model_validate_json(scores.model_dump_json()) == scores


def test_an_image_without_truth_is_refused() -> None:
    with pytest.raises(HarnessError, match="'x'"):
        score({"x": predictions_of(bars())}, {}, RULE, CLASSES)


def test_another_size_is_refused() -> None:
    with pytest.raises(HarnessError, match="image x is 24x28"):
        score({"x": predictions_of(bars())}, {"x": truth_of(np.ones((1, 24, 28), np.uint8))}, RULE, CLASSES)


def test_truth_of_a_sample_parts_cells_from_crowd_regions() -> None:
    planes = bars((0, 0, 20), (2, 0, 90), (4, 0, 9))
    instances = Instances.of_masks(CropMasks.from_planes(planes), np.array([0, 1, 1]), np.array([False, True, False]))
    truth = GroundTruth.of(Sample("a", np.zeros((8, 400), np.uint8), instances, "cort"))
    assert truth.cells.areas().tolist() == [20, 9]
    assert truth.labels.tolist() == [0, 1]
    assert truth.crowd.areas().tolist() == [90]
    assert truth.crowd_labels.tolist() == [1]
    assert (truth.size, truth.cell_type) == ((8, 400), "cort")


class Made(Mapping[str, object]):
    """Images made on demand, from the same four scenes, so that more images are not larger ones."""

    def __init__(self, images: int, predictions: bool) -> None:
        self.images, self.predictions = images, predictions

    def __getitem__(self, image_id: str) -> Predictions | GroundTruth:
        rng = np.random.default_rng(int(image_id) % 4)
        cells = blobs(rng, 6, (128, 128))
        return predictions_of(jittered(rng, cells)) if self.predictions else truth_of(cells)

    def __iter__(self) -> Iterator[str]:
        return (str(i) for i in range(self.images))

    def __len__(self) -> int:
        return self.images


def peak(images: int) -> int:
    tracemalloc.start()
    score(Made(images, True), Made(images, False), RULE, CLASSES)  # type: ignore[arg-type]
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_memory_does_not_grow_with_the_images() -> None:
    peak(2)
    few, many = peak(4), peak(34)
    # a score and a byte per size and threshold stay of each prediction; one plane of these images has 16,384 pixels
    assert many - few < 30 * 16_384
