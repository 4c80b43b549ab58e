"""Makes `random_cells` importable here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def agreement_images() -> int:
    """How many random images ours and another implementation are both asked about; HARNESS_AGREEMENT says how many."""
    return int(os.environ.get("HARNESS_AGREEMENT", "200"))
