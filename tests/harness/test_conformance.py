"""The suite passes methods that keep the contract and detects each violation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import Field

from harness import conformance
from harness.catalog import load_catalog
from harness.conformance import Check, augmenting, card, learning, predicting, unlabelled
from harness.conformance.subject import Subject
from harness.contract import Part, Predictions, Sample
from harness.masks.crops import CropMasks
from harness.options import Options
from methods._templates import engine as toy


class Broken(toy.MyModel):
    """A correct model, except for the fault that `fault` names."""

    def __init__(self, task: Any, fault: str) -> None:
        super().__init__(task, 16)
        self.fault = fault
        self.steps = 0
        if fault == "a part that is never used":
            self.module.add_module("idle", torch.nn.Linear(2, 2))
        if fault == "frozen":
            self.module.requires_grad_(False)
            self.module.predictor.bias.requires_grad_(True)
        if fault == "learns nothing":
            self.module.requires_grad_(False)
        if fault == "remembers":
            self.module.register_buffer("seen", torch.zeros(1))
        if fault == "for one class only" and len(task.classes) > 1:
            raise ValueError("one class only")

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, torch.Tensor]:
        assert self.fault != "learns nothing", "never called"
        losses = dict(super().losses(batch))
        self.steps += 1
        match self.fault:
            case "a loss per image":
                losses["class"] = losses["class"].repeat(2)
            case "infinite":
                losses["class"] = losses["class"] / 0
            case "no loss":
                return {}
            case "nan without cells" if not any(len(s.instances) for s in batch):
                losses["class"] = losses["class"] * torch.nan
            case "unseeded":
                losses["class"] = losses["class"] * (1 + np.random.default_rng().random())
            case "writes":
                batch[0].instances.boxes[:] = 0
            case "reads a table":
                open_table()
        return losses

    def predict(self, images: Sequence[np.ndarray]) -> list[Predictions]:
        found = super().predict(images)
        first = found[0]
        match self.fault:
            case "score above 1":
                found[0] = replace(first, scores=first.scores + 1)
            case "label of no class":
                found[0] = replace(first, labels=first.labels + 5)
            case "outside":
                found[0] = replace(
                    first, masks=CropMasks(first.masks.boxes + 999, first.masks.pixels, first.masks.offsets)
                )
            case "another size":
                found[0] = replace(first, size=(1, 1))
            case "empty mask":
                found[0] = replace(first, masks=replace(first.masks, pixels=first.masks.pixels * 0))
            case "only the first image":
                found = found[:1]
            case "not grey" if images[0].ndim == 2:
                raise ValueError("colour only")
            case "remembers":
                self.module.seen += 1
            case "state outside the module":
                found[0] = replace(first, scores=first.scores / (1 + self.steps))
        return found


def open_table() -> None:
    """Tries to open a CSV file that does not exist. The attempt alone is a violation."""
    try:
        open("/nowhere/train.csv").close()
    except OSError:
        return


def build(recipe: Any, task: Any, fault: str = "") -> Broken:
    return Broken(task, fault)


@pytest.fixture
def subject_with() -> Callable[[str], Subject]:
    """The toy engine with a fault, as a method under test."""
    catalog = load_catalog()
    catalog.add(toy, "the template")
    good = Subject.from_catalog(catalog, "my_method")

    def make(fault: str) -> Subject:
        part = replace(good.recipe.engine, factory=f"{__name__}:build", options={"fault": fault})
        method = replace(good.method, parts={"engine": part})
        return Subject("broken", method, good.recipe.with_parts(engine=part))

    return make


def test_a_good_engine_passes(subject_with: Callable[[str], Subject]) -> None:
    results = list(conformance.run_checks(subject_with("")))
    assert len(results) == len(conformance.CHECKS)
    assert [result for result in results if result.violation] == []


@pytest.mark.parametrize(
    ("fault", "check", "said"),
    [
        ("a part that is never used", learning.every_part_receives_gradient, "no parameter of idle"),
        ("frozen", learning.overfits_one_batch, "the loss went from"),
        ("for one class only", learning.builds_for_one_and_three_classes, "ValueError: one class only"),
        ("a loss per image", learning.builds_for_one_and_three_classes, "'class' is no scalar"),
        ("no loss", learning.builds_for_one_and_three_classes, "gave no loss"),
        ("infinite", learning.losses_and_gradients_are_finite, "'class' is inf"),
        ("nan without cells", learning.takes_any_number_of_cells, "with 0 cells an image the loss is nan"),
        ("unseeded", learning.training_repeats_under_a_seed, "and then"),
        ("writes", learning.inputs_are_not_modified, "boxes were written to"),
        ("reads a table", predicting.opens_no_data_file, "train.csv"),
        ("score above 1", predicting.predictions_are_valid, "scores outside 0..1"),
        ("label of no class", predicting.predictions_are_valid, "have labels 5 to 5 where there are 1 classes"),
        ("outside", predicting.predictions_are_valid, "lie outside the image"),
        ("another size", predicting.predictions_are_valid, "are for an image of (1, 1)"),
        ("empty mask", predicting.predictions_are_valid, "have a mask without a pixel"),
        ("only the first image", predicting.takes_any_image_size, "1 predictions for 4 images"),
        ("not grey", predicting.takes_any_image_size, "ValueError: colour only"),
        ("remembers", predicting.prediction_keeps_no_state, "predict() changed seen"),
        (
            "state outside the module",
            predicting.reloaded_model_predicts_the_same,
            "reloaded model predicts something else",
        ),
    ],
)
def test_a_fault_is_caught(subject_with: Callable[[str], Subject], fault: str, check: Check, said: str) -> None:
    assert said in conformance.run_check(check, subject_with(fault)).violation


def test_checks_of_gradients_do_not_apply_to_a_model_without_trainable_parameters(
    subject_with: Callable[[str], Subject],
) -> None:
    subject = subject_with("learns nothing")
    results = {check: conformance.run_check(check, subject) for check in conformance.CHECKS}
    assert not any(result.violation for result in results.values())
    left_out = {check for check, result in results.items() if result.expected_failure}
    assert left_out == {*conformance.NEED_GRADIENTS, unlabelled.trains_with_unlabelled_images}


def test_a_bad_card_and_bad_parts_are_caught(subject_with: Callable[[str], Subject]) -> None:
    good = subject_with("")
    nameless = replace(good.method, card=replace(good.method.card, paper=" "))
    with pytest.raises(AssertionError, match="paper is empty"):
        card.card_is_complete(Subject("x", nameless, good.recipe))
    part = replace(good.recipe.engine, options={"sizes": (1, 2)})
    for fills, why in (({}, "no slot"), ({"head": part}, "no slot 'head'"), ({"engine": part}, "survive JSON")):
        with pytest.raises(AssertionError, match=why):
            card.parts_can_be_recorded(Subject("x", replace(good.method, parts=fills), good.recipe))


def test_options_that_the_factory_does_not_take_are_caught(subject_with: Callable[[str], Subject]) -> None:
    good = subject_with("")
    part = replace(good.recipe.engine, options_type=Options, options={})
    with pytest.raises(AssertionError, match="must take `options` of the type that the part names"):
        card.parts_can_be_recorded(Subject("x", replace(good.method, parts={"engine": part}), good.recipe))


def test_a_size_outside_the_range_of_an_option_is_caught(subject_with: Callable[[str], Subject]) -> None:
    good = subject_with("")
    part = replace(good.recipe.engine, factory=f"{__name__}:typed", options_type=Narrow, sizes={"small": {"width": 0}})
    method = replace(good.method, parts={"engine": replace(part, options={})})
    with pytest.raises(AssertionError, match="the options of engine at size small: width=0 must be"):
        card.parts_can_be_recorded(Subject("x", method, good.recipe))


class Narrow(Options):
    width: int = Field(16, ge=1)


def typed(recipe: Any, task: Any, options: Narrow) -> Broken:
    return Broken(task, "")


class Clumsy:
    """An augmentation that moves boxes and leaves masks where they are."""

    needs_masks = False

    def __call__(self, sample: Sample, rng: np.random.Generator, pool: Any) -> Sample:
        return sample.with_(instances=replace(sample.instances, boxes=sample.instances.boxes + 7))


class Whim:
    """An augmentation with randomness of its own."""

    needs_masks = False

    def __call__(self, sample: Sample, rng: np.random.Generator, pool: Any) -> Sample:
        return sample.with_(image=np.random.default_rng().integers(0, 255, sample.size, np.uint8))


def clumsy(task: Any) -> Clumsy:
    return Clumsy()


def whim(task: Any) -> Whim:
    return Whim()


@pytest.mark.parametrize(
    ("factory", "check"),
    [("clumsy", "augmented_samples_are_valid"), ("whim", "augmentation_repeats_under_a_seed")],
)
def test_a_bad_augmentation_is_caught(subject_with: Callable[[str], Subject], factory: str, check: str) -> None:
    good = subject_with("")
    part = Part("broken", f"{__name__}:{factory}")
    with pytest.raises(AssertionError):
        getattr(augmenting, check)(Subject("x", good.method, good.recipe.with_parts(augment=part)))


def test_an_expected_failure_is_reported_with_its_reason(subject_with: Callable[[str], Subject]) -> None:
    good = subject_with("")
    excused = Subject(
        "x", replace(good.method, expected_failures={"every_part_receives_gradient": "because"}), good.recipe
    )
    assert conformance.run_check(learning.every_part_receives_gradient, excused).expected_failure == "because"
    assert not conformance.run_check(card.card_is_complete, excused).expected_failure
