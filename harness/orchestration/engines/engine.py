"""What runs the trials of a plan: on this machine, on a SLURM cluster or on a Ray cluster. One file each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from harness.orchestration.bring_to_record import TrialOrder
from harness.results.schema import RunRecord

Phase = Literal["starting", "running", "busy", "kept", "ended"]
"""starting: about to run, or to find that it need not. busy: another run works on it. kept: done in an earlier run."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What one trial needs. gpus: 0 where it computes on the CPU. cores: 0 leaves the number to the engine."""

    gpus: int = 0
    cores: int = 0


@dataclass(frozen=True, slots=True)
class TrialState:
    """Where a trial is. record: of one that has ended. error: what kept the engine from bringing it to a record."""

    phase: Phase
    record: RunRecord | None = None
    error: BaseException | None = None


class Engine(Protocol):
    """Brings trials to their records, several at once.

    slots: how many at most; None where the engine does not know.
    outlives_run: whether trials go on when this process ends, and the next run finds them.
    """

    @property
    def slots(self) -> int | None: ...

    @property
    def outlives_run(self) -> bool: ...

    def submit(self, trials: Sequence[TrialOrder], resources: Resources) -> None:
        """Take on the trials, in this order. Those that an earlier run of this process's folder submitted go on."""

    def states(self) -> Mapping[str, TrialState]:
        """By name, every trial that starts, runs or is busy, and each that has ended or was kept since the last call.

        An engine of this machine starts a trial here and nowhere else, so that the caller is done with one that has
        ended before the next computes.
        """

    def stop(self, times: int) -> None:
        """Ask the running trials for a last checkpoint, and start no other; the second time end them at once."""
