"""How the trials of a plan are worked through. None of it changes a score."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from harness.orchestration.kept_weights import KeepWeights
from harness.orchestration.process.launchers import Launcher, SubprocessLauncher


@dataclass(frozen=True)
class RunOptions:
    """How a plan is worked through.

    wall_limit: seconds that a trial may take; None derives it from the budget.
    memory_limit: bytes that a trial may hold; None is 90 % of the machine's, divided by the trials side by side.
    on_oom: "halve" repeats a trial that ran out of memory with micro-batches of half the size.
    retry_failed: run trials again that failed in an earlier run.
    grace: seconds for the last checkpoint of a trial that is asked to stop.
    keep_weights: see harness.orchestration.kept_weights; None goes by the number of trials.
    launcher: starts the process of a trial, where no engine is given.
    """

    wall_limit: float | None = None
    memory_limit: int | None = None
    on_oom: Literal["record", "halve"] = "record"
    retry_failed: bool = False
    grace: float = 60.0
    keep_weights: KeepWeights | None = None
    launcher: Launcher = field(default_factory=SubprocessLauncher)
