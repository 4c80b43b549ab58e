"""`--labels` and `--unlabelled`: in the plan, in the key, in the record's facts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_worker import PRESET, resolved
from PIL import Image

from harness.contract import Card, Method
from harness.errors import HarnessError
from harness.orchestration.fit_all import plan_fit_all
from harness.orchestration.plan import Contender, Manifest
from harness.orchestration.prepared_data import planned_unlabelled, prepare_planned_data
from harness.orchestration.request import RunRequest
from harness.reporting.format import split_text
from harness.results.schema import RunRecord

DATA = "synthetic:images=12,size=48"
READER = Method("reader", Card("", "", 2021, "", ""), {}, reads_unlabelled=True)


def planned(*, reads: bool = False, tell: list[str] | None = None, **options: object) -> Manifest:
    request = RunRequest.model_validate({"sources": (DATA,), **options})
    stack = replace(resolved("healthy"), methods=(READER,) if reads else ())
    return request.plan([Contender(stack, PRESET, "10it")], PRESET, (tell if tell is not None else []).append)


def test_each_number_of_labels_is_a_trial_with_a_key_of_its_own() -> None:
    everything, three, half = (planned(labels=labels).trials[0] for labels in ((), ("3",), ("50%",)))
    assert len({trial.spec.key for trial in (everything, three, half)}) == 3
    assert three.name == "healthy--seed0--labels3"
    both = planned(labels=("3", "50%"))
    assert [trial.spec.key for trial in both.trials] == [three.spec.key, half.spec.key]
    assert half.name.endswith("--labels50percent")
    assert [len(both.facts_of(trial.spec).splits["train"]) for trial in both.trials] == [3, 4]


def test_the_record_says_which_images_have_labels() -> None:
    manifest = planned(labels=("3",))
    (trial,) = manifest.trials
    facts = manifest.facts_of(trial.spec)
    assert facts == prepare_planned_data(trial.spec).facts
    assert len(facts.splits["unlabelled"]) == len(planned().facts_of(planned().trials[0].spec).splits["train"]) - 3
    record = RunRecord.from_spec(trial.spec, "ok", data=facts)
    assert record.settings["labelled_images"] == "3"
    assert split_text(record.split) == "at random, by cell type and group; labels of 3 training images used"


def test_only_methods_that_learn_from_unlabelled_images_have_them_in_their_key(tmp_path: Path) -> None:
    for i in range(2):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (40, 40)).astype(np.uint8)).save(
            tmp_path / f"{i}.png"
        )
    folder = (str(tmp_path),)
    told: list[str] = []
    plain, with_folder = planned().trials[0].spec, planned(unlabelled=folder).trials[0].spec
    assert (plain.key, with_folder.unlabelled) == (with_folder.key, None)
    hidden = planned(reads=True, labels=("3",)).trials[0].spec
    more = planned(reads=True, labels=("3",), unlabelled=folder, tell=told).trials[0].spec
    assert hidden.key != more.key
    assert more.unlabelled is not None
    assert (more.unlabelled.images, more.unlabelled.hidden) == (7, 5)
    assert told[-1] == "unlabelled images to learn from: 7, 5 of them training images whose labels are hidden"
    images = planned_unlabelled(prepare_planned_data(more), more)
    assert images is not None
    assert len(images) == 7
    (tmp_path / "0.png").unlink()
    with pytest.raises(HarnessError, match="the unlabelled images have changed since the run was planned"):
        planned_unlabelled(prepare_planned_data(more), more)


def test_a_training_on_all_images_has_the_unlabelled_ones_of_its_own() -> None:
    (trial,) = planned(reads=True, labels=("3",)).trials
    (whole,) = plan_fit_all(trial.spec, "cpu").trials
    assert trial.spec.unlabelled is not None
    assert whole.spec.unlabelled is not None
    assert (trial.spec.unlabelled.images, whole.spec.unlabelled.images) == (5, 9)
    images = planned_unlabelled(prepare_planned_data(whole.spec), whole.spec)
    assert images is not None
    assert len(images) == 9


def test_nothing_to_learn_from_is_told_with_what_to_type() -> None:
    with pytest.raises(HarnessError, match="has no unlabelled images to learn from; add a folder with --unlabelled"):
        planned(reads=True)


def test_folds_hide_labels_of_their_own_training_images() -> None:
    manifest = planned(reads=True, labels=("3",), folds=3)
    assert len({trial.spec.folds_key for trial in manifest.trials}) == 1
    for trial in manifest.trials:
        splits = manifest.facts_of(trial.spec).splits
        assert [len(splits[name]) for name in ("train", "unlabelled", "validation")] == [3, 5, 4]


def test_a_number_that_cannot_be_read_is_told() -> None:
    with pytest.raises(HarnessError, match="--labels 'some': type a number of images"):
        planned(labels=("some",))
