"""Pseudo-labels: as many as labelled images have, uncertain ones ignored, no pixel twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.contract import Predictions
from harness.masks.crops import CropMasks
from methods.self_training.pseudo_labels import mask_iou, matched_counts, predict_with_flips

SIZE = (40, 60)


def found(boxes: Sequence[Sequence[int]], scores: Sequence[float], labels: Sequence[int] = ()) -> Predictions:
    masks = CropMasks.from_crops(boxes, [np.ones((y1 - y0, x1 - x0), bool) for x0, y0, x1, y1 in boxes])
    return Predictions(SIZE, masks, np.array(scores, np.float32), np.array(labels or [0] * len(scores), np.int64))


def row(count: int, scores: Sequence[float], labels: Sequence[int] = ()) -> Predictions:
    """Boxes beside each other."""
    return found([[10 * i, 5, 10 * i + 8, 15] for i in range(count)], scores, labels)


def test_so_many_are_kept_as_labelled_images_have() -> None:
    images = {3: row(4, [0.9, 0.8, 0.2, 0.15]), 7: row(3, [0.7, 0.3, 0.02])}
    made = matched_counts(images, [1.5], uncertain=1 / 3, minimum_score=0.05)
    # three objects on two images; of the next, a third as many
    assert made[3].crowd is not None
    assert made[7].crowd is not None
    assert sorted(made[3].boxes[~made[3].crowd, 0].tolist()) == [0, 10]
    assert made[3].crowd.sum() == 0
    assert made[7].boxes[~made[7].crowd].tolist() == [[0, 5, 8, 15]]
    assert made[7].boxes[made[7].crowd].tolist() == [[10, 5, 18, 15]]


def test_each_class_has_its_own_number() -> None:
    images = {0: row(4, [0.9, 0.8, 0.3, 0.2], [0, 0, 1, 1])}
    made = matched_counts(images, [1, 1], uncertain=0, minimum_score=0.05)
    assert sorted(zip(made[0].boxes[:, 0].tolist(), made[0].labels.tolist(), strict=True)) == [(0, 0), (20, 1)]


@pytest.mark.parametrize("images", [{}, {0: row(0, [])}, {0: row(2, [0.01, 0.04])}])
def test_nothing_found_gives_no_label(images: dict[int, Predictions]) -> None:
    assert matched_counts(images, [3.0], uncertain=0.5, minimum_score=0.05) == {}


def test_masks_are_disjoint_and_the_better_one_keeps_its_pixels() -> None:
    images = {0: found([[0, 0, 20, 20], [15, 0, 35, 20], [5, 5, 18, 18]], [0.6, 0.9, 0.5])}
    made = matched_counts(images, [3], uncertain=0, minimum_score=0)[0]
    assert made.masks is not None
    assert made.masks.planes(*SIZE).sum(axis=0).max() == 1
    # the third is covered by the first and left out
    assert sorted(made.boxes.tolist()) == [[0, 0, 15, 20], [15, 0, 35, 20]]


def test_an_uncertain_object_takes_no_pixel_of_a_kept_one() -> None:
    images = {0: found([[0, 0, 20, 20], [12, 0, 30, 20]], [0.6, 0.9], [0, 1])}
    made = matched_counts(images, [1, 0], uncertain=1, minimum_score=0)[0]
    assert made.boxes.tolist() == [[0, 0, 20, 20]]
    assert made.crowd is not None
    assert made.crowd.tolist() == [False]


def test_iou_of_masks() -> None:
    a, b = found([[0, 0, 10, 10], [20, 0, 30, 10]], [1, 1]), found([[5, 0, 15, 10]], [1])
    np.testing.assert_allclose(mask_iou(a.masks, b.masks, SIZE), [[50 / 150], [0]])


def test_scores_are_means_over_the_image_and_its_mirror_images() -> None:
    """The predictor sees a bright square wherever it is, and one that is only there where the image is not mirrored."""
    image = np.zeros(SIZE, np.uint8)
    image[5:15, 8:20] = 200
    image[30, 50] = 255

    def predict(pixels: NDArray[np.uint8]) -> Predictions:
        rows, columns = np.nonzero(pixels == 200)
        boxes = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], [40, 20, 48, 28]]
        upright = pixels[30, 50] == 255
        return found(boxes if upright else boxes[:1], [0.9, 0.6] if upright else [0.6])

    both = predict_with_flips(predict, image)
    np.testing.assert_allclose(both.scores, [0.7, 0.2], atol=1e-6)
    np.testing.assert_allclose(predict_with_flips(predict, image, flips=False).scores, [0.9, 0.6], atol=1e-6)
