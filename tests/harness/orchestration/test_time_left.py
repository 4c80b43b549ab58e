"""The remaining time of a run."""

from __future__ import annotations

import pytest

from harness.monitoring.progress import Progress
from harness.orchestration.time_left import TimeLeft


class Run:
    """A run on a clock that is set by hand."""

    def __init__(self, slots: int = 1) -> None:
        self.now = 1000.0
        self.left = TimeLeft(clock=lambda: self.now, slots=slots)

    def training(self, fraction: float, at: float) -> float | None:
        """Set the clock to that second of the run."""
        self.now = 1000.0 + at
        self.left.progress("a", Progress("training", fraction=fraction))
        return self.left.seconds()


def test_a_budget_of_time_is_known_from_the_start() -> None:
    run = Run()
    run.left.started("a", "100s", 0)
    assert run.training(0.001, at=10) is None
    assert run.training(0.02, at=12) == pytest.approx(98)
    assert run.training(0.5, at=80) == pytest.approx(50)


def test_a_budget_of_steps_goes_on_at_its_pace() -> None:
    run = Run()
    run.left.started("a", "1000it", 0)
    run.training(0.0, at=10)
    assert run.training(0.1, at=20) == pytest.approx(90)


def test_it_is_of_the_whole_run() -> None:
    run = Run()
    run.left.started("a", "100s", 2)
    # 10 s of start and 50 s of training are over, 50 s of training and two trials of 110 s to come
    assert run.training(0.5, at=60) == pytest.approx(50 + 2 * 110)
    run.training(1.0, at=110)
    run.now += 10
    run.left.progress("a", Progress("predicting", fraction=0.5, seconds_left=10))
    run.now += 10
    run.left.ended("a", took_part=True)
    assert run.left.seconds() is None
    run.left.started("a", "100s", 1)
    assert run.left.seconds() == pytest.approx(2 * 130)
    assert run.training(0.5, at=190) == pytest.approx(50 + 10 + 130)


def test_an_evaluation_changes_nothing_but_the_clock() -> None:
    run = Run()
    run.left.started("a", "100s", 0)
    run.training(0.5, at=50)
    run.now += 5
    run.left.progress("a", Progress("validating", fraction=0.5))
    assert run.left.seconds() == pytest.approx(50)


def test_a_trial_that_was_skipped_tells_nothing_about_the_others() -> None:
    run = Run()
    run.left.started("a", "100s", 1)
    run.left.ended("a", took_part=False)
    run.left.started("a", "100s", 0)
    assert run.left.seconds() is None


def test_trials_side_by_side_share_what_is_to_come() -> None:
    run = Run(slots=2)
    run.left.started("a", "100s", 3)
    run.left.started("b", "100s", 2)
    assert run.training(0.5, at=60) == pytest.approx((50 + 3 * 110) / 2)
    run.left.progress("b", Progress("training", fraction=0.25))
    assert run.left.seconds() == pytest.approx((50 + 75 + 2 * (110 + 135) / 2) / 2)
    run.left.started("b", "100s", 0)
    run.left.ended("b", took_part=False)
    assert run.left.seconds() == pytest.approx(50)
