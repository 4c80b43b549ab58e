"""Every registered method keeps the contract; a new one is tested by existing."""

from __future__ import annotations

import pytest

from harness.catalog import find
from harness.conformance import CHECKS, Check
from harness.conformance.subject import Subject

CATALOG = find()


def _marks(name: str) -> tuple[pytest.MarkDecorator, ...]:
    return () if CATALOG.method(name).default else (pytest.mark.slow,)


@pytest.fixture(scope="module")
def subject(request: pytest.FixtureRequest) -> Subject:
    """One at a time: those of all methods, with the networks they have trained, are gigabytes."""
    subject = Subject.from_catalog(CATALOG, request.param)
    reason = subject.method.skip() if subject.method.skip else None
    if reason:
        pytest.skip(reason)
    return subject


# a method outside and a check inside, so that the checks of one method share what it has learnt
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("subject", [pytest.param(name, marks=_marks(name)) for name in CATALOG.entries], indirect=True)
def test_method(subject: Subject, check: Check) -> None:
    if check.__name__ in subject.method.expected_failures:
        pytest.skip(subject.method.expected_failures[check.__name__])
    check(subject)


def test_no_file_is_broken() -> None:
    assert not CATALOG.broken
