"""A whole trial that learns from unlabelled images, with a method that trains in a second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.catalog import load_catalog
from harness.config.preset import load_preset, with_settings
from harness.config.trial_spec import TrialSpec
from harness.contract import Init
from harness.monitoring.progress import Progress, ProgressFile
from harness.orchestration.learning import mean_cells
from harness.orchestration.plan import Contender
from harness.orchestration.plan_from_data import plan_trials
from harness.orchestration.prepared_data import prepare_planned_data
from harness.orchestration.trial.work import Trial
from harness.results.status import Interrupted
from harness.stacks import resolve

ADAPTER = Path(__file__).parents[2] / "helpers" / "brightness_method.py"


@pytest.fixture(scope="module")
def spec() -> TrialSpec:
    catalog = load_catalog([ADAPTER])
    stack, taught = resolve(catalog, "brightness", "small", Init("scratch")), catalog.method("self_training")
    part = taught.parts["supervision"].with_options(uncertain=0.2).checked()
    stack = replace(stack, recipe=stack.recipe.with_parts(supervision=part), methods=(*stack.methods, taught))
    preset = with_settings(load_preset("smoke"), {"training.learning_rate": 0.05, "evaluation.curve_fractions": ()})
    (trial,) = plan_trials(
        [Contender(stack, preset, "20it")], [0], ["synthetic:images=14,size=64"], labels=["3"]
    ).trials
    return trial.spec


def test_the_record_says_what_was_learned_from(spec: TrialSpec, tmp_path: Path) -> None:
    trial = Trial(spec, tmp_path, ProgressFile())
    record = trial.run()
    assert record.status == "ok"
    assert record.unlabelled == spec.unlabelled
    assert record.data is not None
    assert record.unlabelled is not None
    assert record.unlabelled.images == len(record.data.splits["unlabelled"]) == record.unlabelled.hidden
    (note,) = [note for note in record.cost.notes if "unlabelled images with" in note]
    assert note.startswith("after step 8 the teacher labelled ")
    assert trial.learner is not None
    assert trial.learner.pseudo is not None


def test_a_stop_while_images_are_labelled_keeps_the_training_so_far(spec: TrialSpec, tmp_path: Path) -> None:
    class StopAtStep(ProgressFile):
        def report(self, progress: Progress) -> None:
            if progress.step == 8:
                self.request_stop()

    with pytest.raises(Interrupted):
        Trial(spec, tmp_path, StopAtStep()).run()
    assert list(tmp_path.glob("state-*8.ckpt"))
    assert Trial(spec, tmp_path, ProgressFile()).run().cost.iterations == 20


def test_cells_of_labelled_images_are_counted_by_class(spec: TrialSpec) -> None:
    data = prepare_planned_data(spec)
    cells = sum(len(data.dataset.sample(image_id).instances) for image_id in data.splits.train)
    found = mean_cells(data)
    assert len(found) == len(data.dataset.classes)
    assert sum(found) == pytest.approx(cells / 3)
