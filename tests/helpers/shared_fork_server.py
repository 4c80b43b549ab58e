"""One fork server for all runs that the tests of a file start in their own process: importing torch takes seconds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from fork_server_for_tests import VARIABLES

from harness.monitoring.placement import ALONE, Placement
from harness.orchestration.process import fork_launcher
from harness.orchestration.process.launchers import Launcher, fastest_launcher, worker_environment


class Starter(fork_launcher.ForkServerLauncher):
    """Starts workers by fork_server_for_tests.py."""

    def start(self, folder: Path, environment: Mapping[str, str], output: int) -> int:
        whole = {**worker_environment(), **environment}
        return super().start(folder, {**whole, VARIABLES: ",".join(whole)}, output)

    def _start_server(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", "1")
            patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
            patch.setattr(fork_launcher, "_SERVER_MODULE", "fork_server_for_tests")
            super()._start_server()


class SharedServer:
    """In place of fastest_launcher. The server starts with the first run that needs it."""

    def __init__(self) -> None:
        self._modules: set[str] = set()
        self._starter: Starter | None = None

    @contextmanager
    def launcher(self, modules: Sequence[str] = (), placement: Placement = ALONE) -> Iterator[Launcher]:
        """modules: what trials will import. A server that lacks one is replaced. Trials side by side do not share."""
        if placement != ALONE:
            with fastest_launcher(modules, placement) as own:
                yield own
            return
        if self._starter is None or not self._modules.issuperset(modules):
            self.end()
            self._modules |= set(modules)
            self._starter = Starter(sorted(self._modules))
            self._starter.__enter__()
        yield self._starter

    def end(self) -> None:
        if self._starter is not None:
            self._starter.__exit__(None, None, None)
            self._starter = None


SERVER = SharedServer()
FAKE_SERVER = SharedServer()
"""For the fake workers of fake_worker.py."""
