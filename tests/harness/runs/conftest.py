"""Makes `playground` importable here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def rounds() -> int:
    """How many rounds of chaos: 20, or as HARNESS_CHAOS_ROUNDS says."""
    return int(os.environ.get("HARNESS_CHAOS_ROUNDS", "20"))
