"""What every method must keep to, as checks that a new adapter inherits by existing.

Each check is a function of a Subject; the first line of its docstring is the promise it tests; it raises Violation
with one line that says how the promise was broken. `python -m harness check-method` and the project's tests run them.
Everything runs on the CPU, small, on images drawn here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from harness.conformance import augmenting, card, learning, predicting
from harness.conformance.subject import Subject

Check = Callable[[Subject], None]

CHECKS: tuple[Check, ...] = (
    card.card_is_complete,
    card.parts_can_be_recorded,
    augmenting.augmented_cells_are_whole,
    augmenting.augmentation_repeats_under_a_seed,
    learning.builds_for_one_and_three_classes,
    learning.losses_and_gradients_are_finite,
    learning.every_part_learns,
    learning.any_number_of_cells,
    learning.images_stay_as_they_are,
    learning.repeats_under_a_seed,
    learning.halves_its_loss,
    predicting.predictions_are_valid,
    predicting.any_image_size,
    predicting.saved_and_loaded_predicts_the_same,
    predicting.predicting_changes_nothing,
    predicting.reads_no_data_by_itself,
)


@dataclass(frozen=True)
class Result:
    """How one check went.

    violation: empty where the promise is kept. expected_failure: why the method cannot pass, if its author says so.
    """

    check: str
    promise: str
    violation: str
    seconds: float
    expected_failure: str = ""


def promise(check: Check) -> str:
    """What a check tests, in one line."""
    return (check.__doc__ or check.__name__).splitlines()[0].rstrip(".")


def run(subject: Subject) -> Iterator[Result]:
    """Every check, one after another."""
    return (result_of(check, subject) for check in CHECKS)


def result_of(check: Check, subject: Subject) -> Result:
    """How one check goes; whatever a method raises is a violation."""
    import time

    expected_failure = subject.method.expected_failures.get(check.__name__, "")
    begin, violation = time.perf_counter(), ""
    if not expected_failure:
        try:
            check(subject)
        except Exception as error:  # whatever a stranger's code raises
            violation = " ".join(str(error).split()) or type(error).__name__
            if not isinstance(error, AssertionError):
                violation = f"{type(error).__name__}: {violation}"
    return Result(check.__name__, promise(check), violation, time.perf_counter() - begin, expected_failure)
