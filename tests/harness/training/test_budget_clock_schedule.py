"""Budgets, the training clock, and the learning rate that fits them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config.budget import Budget
from harness.config.preset import Training, load_preset
from harness.errors import HarnessError
from harness.training.clock import TrainingClock
from harness.training.schedule import learning_rate


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("90s", "seconds", 90),
        ("10m", "seconds", 600),
        ("1.5h", "seconds", 5400),
        ("1000it", "iterations", 1000),
        ("20ep", "epochs", 20),
    ],
)
def test_budgets_are_read(text: str, kind: str, amount: float) -> None:
    assert Budget.parse(text) == Budget(kind, amount)  # type: ignore[arg-type]


@given(st.text(max_size=8))
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    refused = ""
    try:
        budget = Budget.parse(text)
    except HarnessError as error:
        refused = str(error)
    if refused:
        assert refused.startswith(f"budget {text!r} cannot be read; type ")
        assert "\n" not in refused
    else:
        assert budget.amount > 0


def test_used_in_each_unit() -> None:
    assert Budget.parse("10s").used(5, 999, 10) == 0.5
    assert Budget.parse("10it").used(999, 5, 10) == 0.5
    assert Budget.parse("2ep").used(999, 10, 10) == 0.5


def test_clock_stands_while_stopped_and_goes_on_from_before() -> None:
    waits = []
    clock = TrainingClock(lambda: waits.append(1), used=100.0)
    assert clock.seconds == 100.0
    clock.start()
    time.sleep(0.02)
    with clock.stopped():
        before = clock.seconds
        time.sleep(0.05)
        assert clock.seconds == before
    clock.stop()
    assert 100.02 <= clock.seconds < 100.05
    assert len(waits) == 4, "the device is waited for at every start and stop"
    with clock.stopped():
        pass
    time.sleep(0.01)
    assert clock.seconds < 100.05, "a clock that stood before stands after"


def training(**changes: object) -> Training:
    return Training(crop=64, batch=2, learning_rate=0.1, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_rate_rises_then_falls_to_zero(decay: str) -> None:
    plan = training(warmup=0.1, decay=decay)
    rates = [learning_rate(plan, i / 1000) for i in range(1001)]
    assert rates[0] == pytest.approx(0.001)
    assert max(rates) == pytest.approx(0.1)
    assert rates.index(max(rates)) == 100
    assert rates[1000] == pytest.approx(0, abs=1e-12)
    assert rates[:101] == sorted(rates[:101])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[550] == pytest.approx(0.05)


def test_warm_up_starts_at_the_factor_of_the_preset() -> None:
    """Preset paper: detectron2's 0.001 (`config/defaults.py`, SOLVER.WARMUP_FACTOR)."""
    assert learning_rate(training(warmup_factor=0.25), 0.0) == pytest.approx(0.025)
    assert load_preset("paper").training.warmup_factor == 0.001
    assert learning_rate(load_preset("paper").training, 0.0) == pytest.approx(5e-7)


def test_step_decay_is_the_published_3x() -> None:
    plan = training(warmup=0.0, decay="step")
    assert learning_rate(plan, 209_999 / 270_000) == pytest.approx(0.1)
    assert learning_rate(plan, 210_000 / 270_000) == pytest.approx(0.01)
    assert learning_rate(plan, 250_000 / 270_000) == pytest.approx(0.001)


@given(st.floats(0, 1), st.sampled_from(["constant", "linear", "cosine", "step"]), st.floats(0, 0.9))
def test_rate_stays_between_zero_and_the_peak(used: float, decay: str, warmup: float) -> None:
    assert 0 <= learning_rate(training(decay=decay, warmup=warmup), used) <= 0.1 + 1e-12
