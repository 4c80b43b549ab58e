"""Which trained weights of a run stay: of thousands of trials they are nearly all of its bytes."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal

from harness.orchestration.plan import PlannedTrial
from harness.platform.files import remove
from harness.results.io import WEIGHTS
from harness.results.schema import RunRecord

KeepWeights = Literal["none", "best", "all"]
MOST_BY_DEFAULT = 100
"""Trials of a plan whose weights are all kept where nothing is said; of more none are."""


class KeptWeights:
    """Told of each trial that is done; removes the weights of those that nobody wants.

    keep: "best" keeps, of each method on each data set, those of the seed with the highest IoU. The models of folds
    have no score of their own, and stay.
    """

    def __init__(self, keep: KeepWeights, run_dir: Path) -> None:
        self._keep, self._run_dir = keep, run_dir
        self._best: dict[tuple[str, str], tuple[float, Path]] = {}

    def done(self, trial: PlannedTrial, record: RunRecord, earlier: bool) -> None:
        """A trial has its record. earlier: of an earlier run, whose weights stay unless better ones come."""
        weights = trial.folder(self._run_dir) / WEIGHTS
        if self._keep == "all" or record.status != "ok":
            return
        if self._keep == "none":
            if not earlier:
                _remove(weights)
            return
        if record.scores is None:
            return
        work, iou = (trial.spec.method, trial.spec.data_fingerprint), record.scores.iou_map
        best = self._best.get(work)
        if best is not None and iou <= best[0]:
            if not earlier:
                _remove(weights)
            return
        if best is not None:
            _remove(best[1])
        self._best[work] = (iou, weights)


def keep_by_default(trials: int) -> KeepWeights:
    """What is kept of so many trials where nothing is said."""
    return "all" if trials <= MOST_BY_DEFAULT else "none"


def _remove(weights: Path) -> None:
    with contextlib.suppress(OSError):
        remove(weights)
