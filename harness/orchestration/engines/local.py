"""Trials on this machine: one after the other, or several side by side in slots of their own."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from harness.errors import HarnessError
from harness.monitoring.placement import ALONE, Placement
from harness.orchestration.bring_to_record import TrialOrder, bring_to_record
from harness.orchestration.engines.engine import Resources, TrialState
from harness.orchestration.process.launchers import Launcher, fastest_launcher
from harness.orchestration.process.supervisor import StopRequest
from harness.platform.processes import cores_in_order

_BUSY_SECONDS = 0.5
"""Between two attempts to get a trial that another run works on."""


@dataclass(frozen=True)
class Slot:
    """A place for one trial at a time. launcher: starts its process. placement: what that has of the machine."""

    launcher: Launcher
    placement: Placement = ALONE

    @property
    def where(self) -> str:
        """For those who ask where a trial runs."""
        cores = [f"cores {', '.join(map(str, self.placement.cores))}"] if self.placement.cores else []
        return ", ".join(["this machine", *cores, *([f"GPU {self.placement.gpu}"] if self.placement.gpu else [])])


class LocalEngine:
    """A thread for each running trial watches its process."""

    outlives_run = False

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._free = list(slots)
        self._number = len(slots)
        self._queue: deque[TrialOrder] = deque()
        self._states: dict[str, TrialState] = {}
        self._running: dict[str, tuple[threading.Thread, Slot]] = {}
        self._try_again: dict[str, float] = {}
        self._stop = StopRequest()

    @property
    def slots(self) -> int:
        return self._number

    def submit(self, trials: Sequence[TrialOrder], resources: Resources) -> None:
        self._queue.extend(trials)

    def states(self) -> Mapping[str, TrialState]:
        if not self._stop.times:
            self._start_next()
        # before the states: a thread sets its last state before it ends
        ended = [name for name, (thread, _) in self._running.items() if not thread.is_alive()]
        states = dict(self._states)
        for name in ended:
            self._free.append(self._running.pop(name)[1])
            if states[name].phase != "busy":
                del self._states[name]
        return states

    def stop(self, times: int) -> None:
        self._stop.times = times

    def wait(self) -> None:
        """Until no trial runs."""
        for thread, _ in self._running.values():
            thread.join()

    def _start_next(self) -> None:
        """A trial for every free slot, as far as there are trials that no other run works on."""
        for _ in range(len(self._queue)):
            if not self._free:
                return
            order = self._queue.popleft()
            if self._try_again.get(order.name, 0.0) > time.monotonic():
                self._queue.append(order)
                continue
            slot = self._free.pop(0)
            thread = threading.Thread(target=self._work, args=(order, slot), name=order.name, daemon=True)
            self._running[order.name] = (thread, slot)
            self._states[order.name] = TrialState("starting")
            thread.start()

    def _work(self, order: TrialOrder, slot: Slot) -> None:
        """Bring one trial to its record, in a thread of its own."""

        def on_start() -> None:
            self._states[order.name] = _RUNNING

        try:
            outcome = bring_to_record(order, slot.launcher, self._stop, slot.placement, on_start, slot.where)
        except BaseException as error:
            self._states[order.name] = TrialState("ended", error=error)
            return
        if outcome is None:
            self._try_again[order.name] = time.monotonic() + _BUSY_SECONDS
            self._queue.append(order)
            self._states[order.name] = TrialState("busy")
        else:
            self._states[order.name] = TrialState("kept" if outcome.kept else "ended", outcome.record)


_RUNNING = TrialState("running")


@contextmanager
def local_engine(jobs: int, device: str, modules: Sequence[str] = ()) -> Iterator[LocalEngine]:
    """An engine of so many slots, each with a launcher of its own.

    Args:
        jobs: trials side by side.
        device: "cpu" or "cuda[:N]", of all trials.
        modules: what trials will import. None may start a thread or use a GPU when it is imported.

    Raises:
        HarnessError: several trials, and all on one GPU that was named.
    """
    places = placements(jobs, cores_in_order(), visible_gpus(device) if jobs > 1 else ())
    with ExitStack() as stack:
        engine = LocalEngine([Slot(stack.enter_context(fastest_launcher(modules, place)), place) for place in places])
        try:
            yield engine
        finally:
            # also where an error ends the run: launchers end after the trials that they have started
            engine.stop(2)
            engine.wait()


def placements(jobs: int, cores: Sequence[int], gpus: Sequence[str]) -> list[Placement]:
    """What each of `jobs` slots gets: an equal share of the cores, and a GPU.

    cores: their numbers, those of one physical core beside each other. With fewer than jobs, trials share them.
    gpus: as CUDA_VISIBLE_DEVICES names them; empty where trials compute on the CPU.
    """
    if jobs == 1:
        return [ALONE]
    found = []
    for i in range(jobs):
        share = cores[i * len(cores) // jobs : (i + 1) * len(cores) // jobs] or [cores[i % len(cores)]]
        found.append(
            Placement(
                trials=jobs,
                cores=tuple(share),
                own_cores=jobs <= len(cores),
                gpu=gpus[i % len(gpus)] if gpus else "",
                own_gpu=jobs <= len(gpus),
            )
        )
    return found


def visible_gpus(device: str) -> list[str]:
    """The GPUs that trials may be given, as CUDA_VISIBLE_DEVICES names them. device: of all trials.

    Raises HarnessError where a single one was named.
    """
    if not device.startswith("cuda"):
        return []
    if ":" in device:
        raise HarnessError(f"--jobs gives each trial a GPU, and --device {device} names one; type --device cuda")
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if named:
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
