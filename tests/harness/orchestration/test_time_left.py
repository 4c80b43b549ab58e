"""The remaining time of a run."""

from __future__ import annotations

import pytest

from harness.monitoring.progress import Progress
from harness.orchestration.time_left import TimeLeft


class Run:
    """A run on a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.left = TimeLeft(clock=lambda: self.now)

    def training(self, fraction: float, at: float) -> float | None:
        """Set the clock to that second of the run."""
        self.now = 1000.0 + at
        self.left.progress(Progress("training", fraction=fraction))
        return self.left.seconds()


def test_a_budget_of_time_is_known_from_the_start() -> None:
    run = Run()
    run.left.started("100s", 1, 1)
    assert run.training(0.001, at=10) is None
    assert run.training(0.02, at=12) == pytest.approx(98)
    assert run.training(0.5, at=80) == pytest.approx(50)


def test_a_budget_of_steps_goes_on_at_its_pace() -> None:
    run = Run()
    run.left.started("1000it", 1, 1)
    run.training(0.0, at=10)
    assert run.training(0.1, at=20) == pytest.approx(90)


def test_it_is_of_the_whole_run() -> None:
    run = Run()
    run.left.started("100s", 1, 3)
    # 10 s of start and 50 s of training are over, 50 s of training and two trials of 110 s to come
    assert run.training(0.5, at=60) == pytest.approx(50 + 2 * 110)
    run.training(1.0, at=110)
    run.now += 10
    run.left.progress(Progress("predicting", fraction=0.5, seconds_left=10))
    run.now += 10
    run.left.ended(took_part=True)
    assert run.left.seconds() is None
    run.left.started("100s", 2, 3)
    assert run.left.seconds() == pytest.approx(2 * 130)
    assert run.training(0.5, at=190) == pytest.approx(50 + 10 + 130)


def test_an_evaluation_changes_nothing_but_the_clock() -> None:
    run = Run()
    run.left.started("100s", 1, 1)
    run.training(0.5, at=50)
    run.now += 5
    run.left.progress(Progress("validating", fraction=0.5))
    assert run.left.seconds() == pytest.approx(50)


def test_a_trial_that_was_skipped_tells_nothing_about_the_others() -> None:
    run = Run()
    run.left.started("100s", 1, 2)
    run.left.ended(took_part=False)
    run.left.started("100s", 2, 2)
    assert run.left.seconds() is None
