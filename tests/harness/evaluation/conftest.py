"""How much the tests of evaluation compare."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def agreement_images() -> int:
    """Number of random images for comparing with other implementations; HARNESS_AGREEMENT sets it."""
    return int(os.environ.get("HARNESS_AGREEMENT", "200"))
