"""A short training must reach an expected score. It detects methods that have silently become worse."""

from __future__ import annotations

from pathlib import Path

import pytest
from trial_specs import spec_of

from harness.config.preset import load_preset
from harness.monitoring.progress import ProgressFile
from harness.orchestration.prepared_data import prepare_data
from harness.orchestration.trial.work import Trial

SOURCE = "synthetic:images=24,size=128,types=cort"
ITERATIONS = 120
EXPECTED, TOLERANCE = 0.50, 0.12
"""IoU on two cores; the tolerance is for other processors and releases of torch, and well above chance."""


@pytest.mark.slow
def test_baseline_reaches_its_score(tmp_path: Path) -> None:
    quick = load_preset("quick")
    training = quick.training.model_copy(update={"crop": 96})
    evaluation = quick.evaluation.model_copy(update={"curve_fractions": ()})
    preset = quick.model_copy(update={"training": training, "evaluation": evaluation, "source": SOURCE})
    prepared = prepare_data(SOURCE, False, preset)
    spec = spec_of("mask_rcnn", preset, SOURCE, prepared.facts, budget=f"{ITERATIONS}it")
    record = Trial(spec, tmp_path, ProgressFile()).run()
    assert record.scores is not None
    assert record.scores.iou_map == pytest.approx(EXPECTED, abs=TOLERANCE)
    assert record.total_loss is not None
    assert record.total_loss < 1.6
