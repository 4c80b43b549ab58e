"""Makes `playground` importable here, and collects what results/reliability.md reports."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def figures() -> Callable[..., None]:
    """Called with a name and numbers; prints them, and adds them to the file HARNESS_FIGURES names."""

    def add(name: str, **numbers: int) -> None:
        line = json.dumps({"name": name, **numbers})
        print(line)
        if "HARNESS_FIGURES" in os.environ:
            with Path(os.environ["HARNESS_FIGURES"]).open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    return add


@pytest.fixture
def rounds() -> int:
    """How many rounds of chaos: 20, or as HARNESS_CHAOS_ROUNDS says."""
    return int(os.environ.get("HARNESS_CHAOS_ROUNDS", "20"))
