from __future__ import annotations

import pytest

from harness.orchestration.early_stopping import falls_behind

pytest.importorskip("optuna", reason="needs the extra `tune`")


def test_the_first_trial_always_goes_on() -> None:
    assert not falls_behind([], [0.0])
    assert not falls_behind([], [0.0, 0.0])


def test_at_each_look_the_better_half_goes_on() -> None:
    earlier = [[0.3, 0.4], [0.2], [0.5, 0.6], [0.4, 0.5]]
    assert falls_behind(earlier, [0.35])
    assert not falls_behind(earlier, [0.45])
    assert not falls_behind(earlier, [0.45, 0.65])
    assert falls_behind(earlier, [0.45, 0.45])


def test_a_trial_that_failed_before_its_first_look_counts_for_nothing() -> None:
    assert falls_behind([[0.3], []], [0.2]) == falls_behind([[0.3]], [0.2]) is True
