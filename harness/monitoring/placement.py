"""What a trial has of its machine where others run beside it: cores, a GPU, and how many trials share the rest.

Times of trials that share a machine are compared with their like only (harness.results.comparability).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

VARIABLE = "HARNESS_PLACEMENT"
"""Environment variable that tells a worker its placement."""
SHARING = "sharing"
"""The entry of a record's `machine` that holds it."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What one trial has.

    trials: how many run side by side at most; None where nobody knows, as on a part of a cluster's node.
    cores: numbers of the cores that it runs on; empty for all. own_cores: whether no other trial of the run uses them.
    gpu: as CUDA_VISIBLE_DEVICES names it; empty without one. own_gpu: as own_cores.
    """

    trials: int | None = 1
    cores: tuple[int, ...] = ()
    own_cores: bool = True
    gpu: str = ""
    own_gpu: bool = True

    def environment(self) -> dict[str, str]:
        """Variables for the process that the trial runs in, and for what it starts."""
        if self.trials == 1:
            return {}
        variables = {VARIABLE: json.dumps(asdict(self))}
        if self.gpu:
            variables["CUDA_VISIBLE_DEVICES"] = self.gpu
        if self.cores and "OMP_NUM_THREADS" not in os.environ:
            variables["OMP_NUM_THREADS"] = str(len(self.cores))
        return variables

    def facts(self) -> dict[str, Any]:
        """For the `machine` of a record; empty where the trial has the machine for itself."""
        return {} if self.trials == 1 else {SHARING: json.loads(json.dumps(asdict(self)))}

    def notes(self, energy_of: str | None = None) -> list[str]:
        """What a reader of the trial's times must know. energy_of: as in a record's cost."""
        if self.trials == 1:
            return []
        if self.trials is None:
            part = f"{_count(len(self.cores), 'core')} of " if self.cores else ""
            said = f"ran on {part}a node that other jobs may have shared"
        else:
            own = [_count(len(self.cores), "core")] if self.own_cores and self.cores else []
            own += ["a GPU"] if self.own_gpu and self.gpu else []
            having = f"each with {' and '.join(own)} of its own" if own else "with no core of its own"
            said = f"up to {self.trials} trials ran side by side on this machine, {having}"
        if energy_of and "CPU packages" in energy_of:
            said += "; the energy of the CPU packages is that of all of them"
        return [said]


ALONE = Placement()
"""A trial that has the whole machine."""


def placement_of_this_process(environment: Mapping[str, str] = os.environ) -> Placement:
    """The placement that this process was started with."""
    try:
        plain = json.loads(environment.get(VARIABLE, ""))
        return Placement(**{**plain, "cores": tuple(plain["cores"])})
    except (ValueError, TypeError, KeyError):
        return ALONE


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")
