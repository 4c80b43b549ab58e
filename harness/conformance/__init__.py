"""Checks of the contract. Every method inherits them by existing.

A check is a function of a `Subject`. The first line of its docstring says what must hold. It raises `Violation` with
one line that says how the method breaks it. `python -m harness check-method` and the project's tests run all checks.
They run on the CPU, on small images that are drawn here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.conformance import augmenting, card, learning, predicting, unlabelled
from harness.conformance.subject import Subject, Violation

Check = Callable[[Subject], None]

CHECKS: tuple[Check, ...] = (
    card.card_is_complete,
    card.parts_can_be_recorded,
    augmenting.augmented_samples_are_valid,
    augmenting.augmentation_repeats_under_a_seed,
    learning.builds_for_one_and_three_classes,
    learning.losses_and_gradients_are_finite,
    learning.every_part_receives_gradient,
    learning.takes_any_number_of_cells,
    learning.inputs_are_not_modified,
    learning.training_repeats_under_a_seed,
    learning.overfits_one_batch,
    unlabelled.trains_with_unlabelled_images,
    predicting.predictions_are_valid,
    predicting.takes_any_image_size,
    predicting.reloaded_model_predicts_the_same,
    predicting.prediction_keeps_no_state,
    predicting.opens_no_data_file,
)


NEED_GRADIENTS: tuple[Check, ...] = (
    learning.losses_and_gradients_are_finite,
    learning.every_part_receives_gradient,
    learning.training_repeats_under_a_seed,
    learning.overfits_one_batch,
)
"""Checks that do not apply to a model without trainable parameters."""


@dataclass(frozen=True)
class Result:
    """The outcome of one check.

    requirement: what must hold. violation: how the method breaks it; empty if it does not.
    expected_failure: why the check was not run: the method's own reason, or that it does not apply.
    """

    check: str
    requirement: str
    violation: str
    seconds: float
    expected_failure: str = ""


def requirement(check: Check) -> str:
    """What a check demands, in one line."""
    return (check.__doc__ or check.__name__).splitlines()[0].rstrip(".")


def run_checks(subject: Subject) -> Iterator[Result]:
    """Run all checks, one after another."""
    return (run_check(check, subject) for check in CHECKS)


OF_THE_CARD: tuple[Check, ...] = (card.card_is_complete, card.parts_can_be_recorded)
"""Checks that apply to a method whose weights are found when a run is planned: its network is another method's."""


def why_not_run(check: Check, subject: Subject) -> str:
    """Why a check is not run on this method: its own reason, or that it does not apply; empty if it is."""
    if subject.finds_weights and check not in OF_THE_CARD:
        return "the network is that of the stack, and its weights are found when a run is planned"
    if check is unlabelled.trains_with_unlabelled_images and not subject.learns_from_unlabelled:
        return "it learns from labelled images alone"
    expected = subject.method.expected_failures.get(check.__name__, "")
    if expected or check not in NEED_GRADIENTS or subject.learns:
        return expected
    return "the model has no trainable parameter"


def run_check(check: Check, subject: Subject) -> Result:
    """Run one check. Any exception of the method is a violation."""
    try:
        expected_failure = why_not_run(check, subject)
    except Exception:  # a model that cannot be built: the check says so
        expected_failure = ""
    begin, violation = time.perf_counter(), ""
    if not expected_failure:
        try:
            check(subject)
        except Exception as error:
            violation = " ".join(str(error).split()) or type(error).__name__
            if not isinstance(error, Violation):
                violation = f"{type(error).__name__}: {violation}"
    return Result(check.__name__, requirement(check), violation, time.perf_counter() - begin, expected_failure)
