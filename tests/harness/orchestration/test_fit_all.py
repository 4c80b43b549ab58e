"""The plan of the training on all images. tests/harness/cli/test_package.py trains one."""

from __future__ import annotations

import pytest
from fake_worker import PRESET, resolved

from harness.config.split_spec import SplitSpec
from harness.config.trial_spec import TrialSpec
from harness.data.sources import load
from harness.errors import HarnessError
from harness.orchestration.fit_all import plan_fit_all
from harness.orchestration.plan import Contender
from harness.orchestration.plan_from_data import plan_trials

DATA = "synthetic:images=8,size=64"


def planned(split: SplitSpec) -> TrialSpec:
    return plan_trials([Contender(resolved("recalls"), PRESET, "10it")], [0], [DATA], split=split).trials[0].spec


@pytest.mark.parametrize("split", [SplitSpec(), SplitSpec(folds=3)], ids=["one split", "folds"])
def test_all_images_are_trained_on_and_none_is_scored(split: SplitSpec) -> None:
    spec = planned(split)
    (trial,) = plan_fit_all(spec, "cpu").trials
    facts = plan_fit_all(spec, "cpu").facts_of(trial.spec)
    assert facts.splits == {"train": sorted(load(DATA).ids), "calibration": [], "validation": []}
    assert not trial.spec.split.is_scored
    assert (trial.spec.budget, trial.spec.recipe, trial.spec.seed) == (spec.budget, spec.recipe, spec.seed)
    assert trial.spec.key not in (spec.key, spec.folds_key)
    assert trial.spec.preset.evaluation.curve_fractions == ()


def test_labels_that_the_run_has_hidden_are_used() -> None:
    spec = planned(SplitSpec())
    hidden = spec.model_copy(update={"split": SplitSpec(labels="2")})
    manifest = plan_fit_all(hidden, "cpu")
    assert len(manifest.facts_of(manifest.trials[0].spec).splits["train"]) == 8


def test_changed_data_are_refused() -> None:
    with pytest.raises(HarnessError, match="has changed since the run was planned"):
        plan_fit_all(planned(SplitSpec()).model_copy(update={"data_fingerprint": "0" * 64}), "cpu")
