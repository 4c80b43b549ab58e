"""Our COCO AP against pycocotools' on random data sets: classes, crowd regions, sizes, ties, empty images."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from coco_reference import coco_sides
from pycocotools.cocoeval import COCOeval
from random_cells import bars, blobs, jittered, predictions_of, truth_of

from harness.contract import Predictions
from harness.evaluation.boundary import boundaries, boundary_width
from harness.evaluation.coco import AREA_RANGES, CocoScorer, CocoScores, max_detections
from harness.evaluation.ground_truth import GroundTruth
from harness.masks.crops import CropMasks

CAP = 12
CLASSES = 2


def reference(images: list[tuple[Predictions, GroundTruth]], evaluator: type[COCOeval] = COCOeval) -> np.ndarray:
    """(areas, thresholds) of pycocotools, NaN where it has -1."""
    sides = coco_sides(images, CLASSES)
    with contextlib.redirect_stdout(io.StringIO()):
        run = evaluator(*sides, "segm")
        run.params.areaRng = [list(r) for r in AREA_RANGES.values()]
        run.params.areaRngLbl = list(AREA_RANGES)
        run.params.maxDets = [CAP]
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][..., 0]  # thresholds, recalls, classes, areas
    there = precision > -1
    total = np.where(there, precision, 0).sum(axis=(1, 2))
    return (total / np.where(there.any(axis=(1, 2)), there.sum(axis=(1, 2)), np.nan)).T


def scored(images: list[tuple[Predictions, GroundTruth]]) -> CocoScores:
    scorer = CocoScorer(CLASSES, CAP)
    for predictions, truth in images:
        scorer.add(predictions, truth)
    return scorer.result()


def data_set(rng: np.random.Generator) -> list[tuple[Predictions, GroundTruth]]:
    images = []
    for _ in range(int(rng.integers(1, 5))):
        # sizes on both sides of 18^2, 31^2 and 32^2
        cells = blobs(rng, int(rng.integers(0, 9)), (50, 60), largest=int(rng.choice([10, 40])))
        crowd = blobs(rng, int(rng.integers(0, 2)), (50, 60), largest=30)
        drawn = np.concatenate([jittered(rng, cells), jittered(rng, cells), blobs(rng, 2, (50, 60))])
        scores = rng.choice(np.linspace(0.1, 0.9, 7), len(drawn))
        labels = rng.integers(0, CLASSES, len(cells))
        guessed = np.concatenate([labels, labels, rng.integers(0, CLASSES, 2)])
        images.append((predictions_of(drawn, scores, guessed), truth_of(cells, labels, crowd)))
    return images


def test_same_as_pycocotools_on_random_images(agreement_images: int) -> None:
    rng = np.random.default_rng(0)
    images, informative = 0, 0
    while images < agreement_images:
        data = data_set(rng)
        images += len(data)
        expected, ours = reference(data), scored(data)
        names = list(AREA_RANGES)
        assert [ours.ap, *ours.sizes.values()] == pytest.approx(expected.mean(axis=1), abs=1e-12, nan_ok=True), names
        assert (ours.ap50, ours.ap75) == pytest.approx((expected[0, 0], expected[0, 5]), abs=1e-12, nan_ok=True)
        informative += 0.05 < expected[0].mean() < 0.95
    assert informative > agreement_images / 20


class BoundaryEval(COCOeval):
    """pycocotools with the smaller of mask IoU and boundary IoU, boundaries made on whole planes."""

    def computeIoU(self, imgId: int, catId: int) -> np.ndarray:  # noqa: N802, N803
        from pycocotools import mask as coco
        from scipy import ndimage

        plain = super().computeIoU(imgId, catId)
        if len(plain) == 0:
            return plain
        found, truth = self._dts[imgId, catId], self._gts[imgId, catId]
        found = [found[i] for i in np.argsort([-d["score"] for d in found], kind="mergesort")][:CAP]
        edges = []
        for side in (found, truth):
            side_edges = []
            for entry in side:
                mask = coco.decode(entry["segmentation"])
                d = boundary_width(*mask.shape)
                inner = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=d, border_value=0)
                side_edges.append(coco.encode(np.asfortranarray(mask - inner.astype(np.uint8))))
            edges.append(side_edges)
        return np.minimum(plain, coco.iou(edges[0], edges[1], [g["iscrowd"] for g in truth]))


def test_boundary_ap_is_coco_ap_on_the_smaller_iou() -> None:
    rng = np.random.default_rng(1)
    lower = 0
    for _ in range(20):
        data = data_set(rng)
        ours = scored(data)
        assert ours.boundary_ap == pytest.approx(reference(data, BoundaryEval)[0].mean(), abs=1e-12, nan_ok=True)
        lower += ours.boundary_ap < ours.ap
    assert lower > 5


def test_boundary_of_a_square_is_its_rim() -> None:
    plane = np.zeros((1, 20, 20), np.uint8)
    plane[0, 0:9, 5:14] = 1
    rim = boundaries(CropMasks.from_planes(plane), 2).planes(20, 20)[0]
    # the image's border is an outline too
    assert rim.sum() == 81 - 25
    assert rim[2:7, 7:12].sum() == 0


@pytest.mark.parametrize(("size", "pixels"), [((520, 704), 18), ((10, 10), 1), ((100, 100), 3)])
def test_boundary_width_is_two_percent_of_the_diagonal(size: tuple[int, int], pixels: int) -> None:
    assert boundary_width(*size) == pixels


def test_a_dense_image_is_not_cut_off_at_one_hundred() -> None:
    assert max_detections([5]) == 100
    assert max_detections([790]) == 1580
    cells = bars(*[(row, start, start + 1) for row in range(0, 8, 2) for start in range(0, 120, 2)])
    scorer = CocoScorer(1, max_detections([len(cells)]))
    scorer.add(predictions_of(cells, np.linspace(1, 0.1, len(cells))), truth_of(cells))
    assert len(cells) > 200
    assert scorer.result().ap == pytest.approx(1.0)


def test_no_cells_at_all_is_unknown() -> None:
    assert np.isnan(scored([(predictions_of(bars((0, 0, 5))), truth_of(bars()))]).ap)
