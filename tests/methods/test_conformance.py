"""Every registered method keeps the contract. New methods are tested without further code."""

from __future__ import annotations

import pytest

from harness.catalog import load_catalog
from harness.conformance import CHECKS, Check, why_not_run
from harness.conformance.learning import losses_and_gradients_are_finite
from harness.conformance.subject import Subject

CATALOG = load_catalog()


def _cases() -> list[object]:
    """Every method with every check, all checks of a method together.

    Of the large networks that `all` leaves out, one forward and backward pass; the rest takes minutes and is slow.
    """
    return [
        pytest.param(name, check, marks=pytest.mark.slow if slow else (), id=f"{name}-{check.__name__}")
        for name in CATALOG.entries
        for check in CHECKS
        for slow in [not CATALOG.method(name).default and check is not losses_and_gradients_are_finite]
    ]


@pytest.fixture(scope="module")
def subject(request: pytest.FixtureRequest) -> Subject:
    """One at a time: those of all methods, with the networks they have trained, are gigabytes."""
    subject = Subject.from_catalog(CATALOG, request.param)
    reason = subject.method.unavailable()
    if reason:
        pytest.skip(reason)
    return subject


@pytest.mark.parametrize(("subject", "check"), _cases(), indirect=["subject"])
def test_method(subject: Subject, check: Check) -> None:
    reason = why_not_run(check, subject)
    if reason:
        pytest.skip(reason)
    check(subject)


def test_no_file_is_broken() -> None:
    assert not CATALOG.broken
