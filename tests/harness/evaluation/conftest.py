"""Tests of evaluation have no deadline: the machine may be busy."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def agreement_images() -> int:
    """Number of random images for comparing with other implementations; HARNESS_AGREEMENT sets it."""
    return int(os.environ.get("HARNESS_AGREEMENT", "200"))
