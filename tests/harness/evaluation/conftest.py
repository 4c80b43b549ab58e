"""No test of these is judged by its speed on a busy machine."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def agreement_images() -> int:
    """How many random images ours and another implementation are both asked about; HARNESS_AGREEMENT says how many."""
    return int(os.environ.get("HARNESS_AGREEMENT", "200"))
