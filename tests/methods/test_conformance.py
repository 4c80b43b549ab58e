"""Every registered method keeps the contract. New methods are tested without further code."""

from __future__ import annotations

import pytest

from harness.catalog import load_catalog
from harness.conformance import CHECKS, NEED_GRADIENTS, Check, why_not_run
from harness.conformance.learning import losses_and_gradients_are_finite
from harness.conformance.subject import Subject

CATALOG = load_catalog()


LARGE = [name for name in CATALOG.entries if not CATALOG.method(name).default]
"""Networks that `all` leaves out."""
LARGEST = ("mask_rcnn_r101", "mask_rcnn_x101")
"""The baseline's network with more layers: all but one forward and backward pass is left to the nightly tests."""


@pytest.fixture(scope="module")
def subject(request: pytest.FixtureRequest) -> Subject:
    """One at a time: those of all methods, with the networks they have trained, are gigabytes."""
    subject = Subject.from_catalog(CATALOG, request.param)
    reason = subject.method.unavailable()
    if reason:
        pytest.skip(reason)
    return subject


# One parametrize for each: with both in one, pytest makes a subject for every test, and each trains again.
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("subject", [name for name in CATALOG.entries if name not in LARGE], indirect=True)
def test_method(subject: Subject, check: Check) -> None:
    reason = why_not_run(check, subject)
    if reason:
        pytest.skip(reason)
    check(subject)


@pytest.mark.parametrize(
    "check",
    [c if c is losses_and_gradients_are_finite else pytest.param(c, marks=pytest.mark.slow) for c in CHECKS],
    ids=lambda check: check.__name__,
)
@pytest.mark.parametrize(
    "subject",
    [pytest.param(name, marks=pytest.mark.nightly) if name in LARGEST else name for name in LARGE],
    indirect=True,
)
def test_large_method(subject: Subject, check: Check) -> None:
    """One forward and backward pass; the rest takes minutes."""
    # all of them learn: why_not_run would build a large network to ask
    learns = check in NEED_GRADIENTS and not subject.finds_weights
    reason = subject.method.expected_failures.get(check.__name__) if learns else why_not_run(check, subject)
    if reason:
        pytest.skip(reason)
    check(subject)


def test_no_file_is_broken() -> None:
    assert not CATALOG.broken
