"""Plans runs of the adapters in bad_adapters.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.catalog import load_catalog
from harness.config.preset import load_preset
from harness.contract import Init
from harness.orchestration.plan import Contender, Manifest
from harness.orchestration.plan_from_data import plan_trials
from harness.stacks import resolve


@pytest.fixture(params=[5, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.nightly])])
def rounds(request: pytest.FixtureRequest) -> int:
    """Number of rounds with random kills: a few, 20 in the long tests, or HARNESS_CHAOS_ROUNDS."""
    return int(os.environ.get("HARNESS_CHAOS_ROUNDS", request.param))


ADAPTERS = Path(__file__).parents[2] / "helpers" / "bad_adapters.py"


@pytest.fixture
def plan_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Manifest]:
    """The trials of some of the bad adapters, on a few small images."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    monkeypatch.syspath_prepend(str(ADAPTERS.parent))
    monkeypatch.setenv("BAD_ADAPTERS_CHILD", str(tmp_path / "child.pid"))
    catalog = load_catalog([ADAPTERS])

    def make(names: list[str], seeds: int = 1) -> Manifest:
        contenders = [
            Contender(resolve(catalog, name, "small", Init("scratch")), load_preset("smoke"), "3it") for name in names
        ]
        return plan_trials(contenders, range(seeds), ["synthetic:images=12,size=64"])

    return make
