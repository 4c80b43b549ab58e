"""The evaluation that LIVECell's benchmark publishes its figures with.

Facts from sartorius-research/LIVECell, code/coco_evaluation.py: COCO's mask AP with all cells as one class
(useCats 0), at most 2,000 detections an image, and the areas of harness.evaluation.coco.AREA_RANGES that are made for
cells. AFNR, the false-negative ratio averaged over IoU thresholds (Edlund et al., Nature Methods 18, 2021), is one
minus the average recall at 2,000 detections. An area is that of a mask; the published files have areas of polygons,
which differ by few pixels.
"""

from __future__ import annotations

import numpy as np

from harness.contract import Predictions
from harness.evaluation.average_precision import RankedClass, RankedImage
from harness.evaluation.close_pairs import close_pairs
from harness.evaluation.coco import AREA_RANGES
from harness.evaluation.ground_truth import GroundTruth
from harness.masks.crops import CropMasks

DETECTIONS = 2000
"""Detections that count per image, the best first."""

_RANGES = {"all": "all", "small": "cell_small", "medium": "cell_medium", "large": "cell_large"}


class LivecellScorer:
    """Gathers the protocol's scores over images, one at a time; keeps no masks."""

    def __init__(self) -> None:
        self._ranked = RankedClass(np.asarray([AREA_RANGES[name] for name in _RANGES.values()]))

    def add(self, predictions: Predictions, truth: GroundTruth) -> None:
        """One image. Labels are not looked at."""
        best = np.argsort(-predictions.scores, kind="stable")[:DETECTIONS]
        detections = predictions.masks.select(best)
        targets = CropMasks.concatenate([truth.cells, truth.crowd])
        crowd = np.arange(len(targets)) >= len(truth.cells)
        pairs = close_pairs(detections, targets, crowd, truth.size)
        self._ranked.add(RankedImage(pairs, predictions.scores[best], detections.areas(), targets.areas(), crowd))

    def result(self) -> dict[str, float]:
        """ap, ap50, ap75, ap_small, ap_medium, ap_large and afnr; NaN where no cell is of that size."""
        precision = self._ranked.average_precision()
        overall, small, medium, large = precision.mean(axis=1).tolist()
        return {
            "ap": overall,
            "ap50": float(precision[0, 0]),
            "ap75": float(precision[0, 5]),
            "ap_small": small,
            "ap_medium": medium,
            "ap_large": large,
            "afnr": float(1 - self._ranked.recall()[0].mean()),
        }
