"""Metrics of biologists beside IoU: F1, panoptic quality, counts of cells, and the kinds of errors.

All at an IoU above 0.5, on the disjoint predictions, pooled over images (as StarDist's matching over a data set and as
panoptic quality are defined), except the count error, which is a mean over images.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from harness.evaluation.matching import Match

ERRORS = ("missed", "false", "merged", "split", "poor_outline")
_TOUCH = 0.1
"""Below this IoU with everything, an object is background to the other side (TIDE's bound, arXiv 2008.08115)."""


@dataclass(slots=True)
class CellTotals:
    """Sums over images; see the properties.

    errors: each cell without a partner is one of "merged" (mostly inside a prediction that holds most of another cell
    too), "split" (holds most of two predictions or more), "poor_outline" (its best prediction has an IoU of 0.1 or
    more) or "missed"; "false" is a prediction without a partner that has no part in any of these.
    """

    images: int = 0
    hits: int = 0
    cells: int = 0
    predictions: int = 0
    iou: float = 0.0
    relative_count: float = 0.0
    errors: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ERRORS, 0))

    def add(self, match: Match) -> None:
        """Count one image."""
        predictions = int(np.count_nonzero(~match.ignored))
        self.images += 1
        self.hits += int(np.count_nonzero(match.partner >= 0))
        self.cells += match.cells
        self.predictions += predictions
        self.iou += float(match.iou.sum())
        self.relative_count += abs(predictions - match.cells) / max(match.cells, 1)
        for name, count in count_errors(match).items():
            self.errors[name] += count

    @property
    def f1(self) -> float:
        """2 TP / (predictions + cells); 1 where there is neither."""
        return 2 * self.hits / (self.predictions + self.cells) if self.predictions + self.cells else 1.0

    @property
    def panoptic_quality(self) -> float:
        """Sum of matched IoU / (TP + FP / 2 + FN / 2) (Kirillov et al., CVPR 2019)."""
        return 2 * self.iou / (self.predictions + self.cells) if self.predictions + self.cells else 1.0

    @property
    def mean_matched_iou(self) -> float | None:
        """None where nothing matched."""
        return self.iou / self.hits if self.hits else None

    @property
    def count_error(self) -> float | None:
        """Mean over images of |predicted - annotated| / annotated; an image without cells is divided by 1."""
        return self.relative_count / self.images if self.images else None


def count_errors(match: Match) -> dict[str, int]:
    """How many of each of ERRORS one image has; all but "false" add up to the cells without a partner."""
    there = ~match.ignored[match.prediction]
    cell, prediction, shared = match.cell[there], match.prediction[there], match.shared[there]
    iou = shared / (match.cell_areas[cell] + match.areas[prediction] - shared)
    lone_cell = np.ones(match.cells, np.bool_)
    lone_cell[match.partner[match.partner >= 0]] = False
    lone_prediction = (match.partner < 0) & ~match.ignored

    holds_cell = 2 * shared > match.cell_areas[cell]
    crowded = np.bincount(prediction[holds_cell], minlength=len(match.areas)) >= 2
    in_merge = holds_cell & crowded[prediction]
    inside_cell = 2 * shared > match.areas[prediction]
    pieces = np.bincount(cell[inside_cell], minlength=match.cells) >= 2
    in_split = inside_cell & pieces[cell]
    touches = iou >= _TOUCH

    merged = lone_cell & _any(cell[in_merge], match.cells)
    split = lone_cell & ~merged & pieces
    poor = lone_cell & ~merged & ~split & _any(cell[touches], match.cells)
    involved = (in_merge & merged[cell]) | (in_split & split[cell]) | (touches & poor[cell])
    false = lone_prediction & ~_any(prediction[involved], len(match.areas))
    missed = lone_cell & ~merged & ~split & ~poor
    parts = (missed, false, merged, split, poor)
    return {name: int(np.count_nonzero(part)) for name, part in zip(ERRORS, parts, strict=True)}


def _any(index: np.ndarray, n: int) -> np.ndarray:
    """(n,) whether each number occurs."""
    found = np.zeros(n, np.bool_)
    found[index] = True
    return found
