"""A fake worker for searches: the IoU is a function of the learning rate, and nothing is trained.

fake_tuning_worker.py TRIAL_DIR --progress N --parent N
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from fake_worker import DATA, PRESET

from harness.config.trial_spec import TrialSpec
from harness.evaluation.schema import Scores
from harness.monitoring.progress import ProgressFile
from harness.orchestration import worker
from harness.orchestration.early_stopping import falls_behind
from harness.results.schema import Cost, CurvePoint, RunRecord

SECONDS = 40.0
"""That a whole trial pretends to have trained."""


def run_trial(spec: TrialSpec, folder: Path, progress: ProgressFile) -> RunRecord:
    """Best at a learning rate of 1; `narrow` falls off faster than `wide`."""
    rate = spec.preset.training.learning_rate
    if spec.method == "crashes_elsewhere" and rate != PRESET.training.learning_rate:
        raise ValueError("not this learning rate")
    width = 0.7 if spec.method == "narrow" else 2.0
    end = math.exp(-((math.log10(rate) / width) ** 2))
    points: list[CurvePoint] = []
    for fraction in spec.preset.evaluation.curve_fractions:
        iou = end * fraction
        points.append(CurvePoint(fraction=fraction, seconds=SECONDS * fraction, iteration=10, iou_map=iou))
        if spec.earlier_looks is not None and falls_behind(spec.earlier_looks, [point.iou_map for point in points]):
            cost = Cost(train_seconds=SECONDS * fraction)
            return RunRecord.from_spec(spec, "pruned", "behind", data=DATA, cost=cost, learning_curve=points)
    points.append(CurvePoint(fraction=1.0, seconds=SECONDS, iteration=40, iou_map=end))
    scores = Scores(scoring_version="1", iou_map=end)
    cost = Cost(train_seconds=SECONDS)
    return RunRecord.from_spec(spec, "ok", data=DATA, scores=scores, cost=cost, learning_curve=points)


if __name__ == "__main__":
    os._exit(worker.main(run_trial=run_trial))
