"""What is shown during a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_worker import plan

from harness.cli.reporters import Bars, Lines, time_left
from harness.monitoring.progress import Progress


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (4.4, "4 s left"), (600, "10 min left"), (6290, "1 h 45 min left"), (360_000, "100 h 00 min left")],
)
def test_time_left_in_words(seconds: float | None, words: str) -> None:
    assert time_left(seconds) == words


def test_a_bar_does_not_fall_back(tmp_path: Path) -> None:
    (trial,) = plan(["a"], budget="100s").trials
    bars = Bars(tmp_path)
    shown = []
    with bars:
        bars.started(trial, 1, 1)
        for progress in (
            Progress("training", fraction=0.4),
            Progress("validating", fraction=0.4),
            Progress("training", fraction=1.0),
            Progress("predicting", fraction=0.1),
            Progress("scoring", fraction=1.0),
        ):
            bars.progress(trial, progress)
            shown.append(next(task.completed for task in bars._progress.tasks if task.id == bars._bars[trial.name]))
    assert shown == [0.4, 0.4, 1.0, 1.0, 1.0]


def test_lines_say_the_time_that_the_whole_run_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials = plan(["a", "b"], budget="100s").trials
    lines = Lines(tmp_path)
    lines.started(trials[0], 1, 2)
    lines.progress(trials[0], Progress("training", fraction=0.0, loss=3.0))
    lines.progress(trials[0], Progress("training", fraction=0.5, loss=2.0))
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "[1/2] a seed 0: 100s"
    assert said[1].split() == ["0%", "training,", "loss", "3.000"]
    assert said[2].endswith("left")


def test_each_running_trial_has_a_bar_and_the_total_counts_all(tmp_path: Path) -> None:
    first, second, third = plan(["a", "b", "c"], budget="100s").trials
    bars = Bars(tmp_path, slots=2)
    with bars:
        for index, trial in enumerate((first, second), 1):
            bars.started(trial, index, 3)
        bars.progress(first, Progress("training", fraction=0.5))
        bars.progress(second, Progress("training", fraction=0.25))
        bars.progress(third, Progress("training", fraction=0.25))
        shown = {task.description: task for task in bars._progress.tasks}
        assert list(shown) == ["run", "a seed 0", "b seed 0"]
        assert (shown["run"].completed, shown["run"].total) == (0.75, 3)
        assert shown["run"].fields["details"].startswith("0 of 3 trials done, 2 running")


def test_lines_name_the_trial_where_several_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials = plan(["a", "b"], budget="100s").trials
    lines = Lines(tmp_path, slots=2)
    for index, trial in enumerate(trials, 1):
        lines.started(trial, index, 2)
        lines.progress(trial, Progress("training", fraction=0.5))
    assert "b seed 0:  50%  training" in capsys.readouterr().err
