"""COCO mask AP of stored predictions: ranked by score, overlaps left as they are, no rule of ours applied.

Sizes are given twice: COCO's bins (32^2 and 96^2 pixels), and LIVECell's, made for cells (18^2 and 31^2). The cap on
detections per image and class comes from the data: COCO's 100 would cut off most of a dense image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.contract import Predictions
from harness.evaluation.average_precision import RankedClass, RankedImage, mean_over_classes
from harness.evaluation.boundary import boundaries, boundary_width
from harness.evaluation.close_pairs import close_pairs
from harness.evaluation.ground_truth import GroundTruth
from harness.masks.crops import CropMasks

AREA_RANGES = {
    "all": (0, 1e5**2),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e5**2),
    "cell_small": (0, 18**2),
    "cell_medium": (18**2, 31**2),
    "cell_large": (31**2, 1e5**2),
}
"""Smallest and largest area in pixels, both inclusive, as COCO has them."""


def max_detections(cell_counts: Sequence[int]) -> int:
    """Detections that count per image and class: twice the most cells on one image, and no fewer than COCO's 100."""
    return max(100, 2 * max(cell_counts, default=0))


@dataclass(frozen=True)
class CocoScores:
    """NaN where no cell is of that size. sizes: AP by the names of AREA_RANGES but "all"."""

    ap: float
    ap50: float
    ap75: float
    boundary_ap: float
    sizes: Mapping[str, float]


class CocoScorer:
    """Gathers COCO's average precision over images, one at a time; keeps no masks.

    Args:
        classes: number of classes.
        cap: detections that count per image and class, the best first.
    """

    def __init__(self, classes: int, cap: int) -> None:
        ranges = np.asarray(list(AREA_RANGES.values()))
        self._cap = cap
        self._masks = [RankedClass(ranges) for _ in range(classes)]
        self._boundaries = [RankedClass(ranges[:1]) for _ in range(classes)]

    def add(self, predictions: Predictions, truth: GroundTruth) -> None:
        """One image. Labels beyond the number of classes are not looked at."""
        crowd_labels = truth.crowd_labels
        d = boundary_width(*truth.size)
        for label, (plain, edged) in enumerate(zip(self._masks, self._boundaries, strict=True)):
            mine = np.flatnonzero(predictions.labels == label)
            mine = mine[np.argsort(-predictions.scores[mine], kind="stable")][: self._cap]
            detections = predictions.masks.select(mine)
            cells = truth.cells.select(truth.labels == label)
            regions = truth.crowd.select(crowd_labels == label)
            targets = CropMasks.concatenate([cells, regions])
            crowd = np.arange(len(targets)) >= len(cells)
            pairs = close_pairs(detections, targets, crowd, truth.size)
            image = RankedImage(pairs, predictions.scores[mine], detections.areas(), targets.areas(), crowd)
            plain.add(image)
            edges = close_pairs(boundaries(detections, d), boundaries(targets, d), crowd, truth.size)
            edged.add(replace(image, pairs=pairs.smaller_of(edges, len(targets))))

    def result(self) -> CocoScores:
        """The scores over all images added so far."""
        by_size = mean_over_classes([c.average_precision() for c in self._masks])
        edged = mean_over_classes([c.average_precision() for c in self._boundaries])
        sizes = dict(zip(AREA_RANGES, by_size.mean(axis=1).tolist(), strict=True))
        return CocoScores(sizes.pop("all"), float(by_size[0, 0]), float(by_size[0, 5]), float(edged.mean()), sizes)
