"""Starts a trial's process in its own session, and kills it with everything that it has started.

Every process of a trial has a token in its environment, which its children inherit. A descendant that has left the
process group is found by the token, and so are processes that an earlier run left behind when it was killed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.fileio import write_text_atomic
from harness.monitoring import progress
from harness.orchestration.process.launchers import TOKEN, Launcher, ProcessExit
from harness.platform.memory import memory_of
from harness.platform.processes import ask_to_terminate, has_ended, session_of

if TYPE_CHECKING:
    import psutil

_TOKEN_FILE = "worker.token"
_KILL_ROUNDS = 50
_CHILDREN_INTERVAL = 1.0
"""Seconds between two searches for child processes: each reads through all processes of the machine."""


class TrialProcess:
    """A running worker. output: file descriptor to read what the worker prints."""

    def __init__(self, launcher: Launcher, folder: Path, environment: Mapping[str, str]) -> None:
        """Start the worker of the trial in `folder`. Raises HarnessError where no process can be started."""
        import psutil

        token = secrets.token_hex(16)
        write_text_atomic(folder / _TOKEN_FILE, token)
        self.output, output_end = os.pipe()
        try:
            self._pid = launcher.start(folder, {**environment, TOKEN: token}, output_end)
        except HarnessError:
            os.close(self.output)
            raise
        finally:
            os.close(output_end)
        self._launcher, self._folder, self._token = launcher, folder, token
        self._worker = psutil.Process(self._pid)
        self._children_memory = 0
        self._children_measured = time.monotonic()

    @property
    def pid(self) -> int:
        """Of the worker."""
        return self._pid

    def ended(self) -> bool:
        """Whether the worker has ended. It keeps its process id until `kill`."""
        return has_ended(self._worker)

    def ask_to_stop(self) -> None:
        """Ask the worker alone: it may need its children for the last checkpoint."""
        with contextlib.suppress(OSError):
            progress.ask_to_stop(self._folder)
        ask_to_terminate(self._pid)

    def kill(self) -> ProcessExit:
        """Kill the worker and everything it has started. Returns how the worker ended."""
        _kill_all(self._token, self._pid)
        return self._launcher.reap(self._pid)

    def memory(self) -> int:
        """Resident bytes of the worker and its descendants. Pages that several of them share are counted once."""
        import psutil

        try:
            own: int = self._worker.memory_info().rss
        except (psutil.Error, OSError):
            return 0
        if time.monotonic() - self._children_measured > _CHILDREN_INTERVAL:
            self._children_memory = self._measure_children(own)
            self._children_measured = time.monotonic()
        return own + self._children_memory

    def _measure_children(self, own: int) -> int:
        """Bytes that the descendants hold beyond the `own` resident bytes of the worker."""
        import psutil

        with contextlib.suppress(psutil.Error, OSError):
            children = self._worker.children(recursive=True)
            if children:
                return max(0, memory_of([self._worker, *children]) - own)
        return 0


def kill_leftovers(folder: Path) -> None:
    """Kill what an earlier run of the trial in `folder` has left running. The caller holds the trial's lock."""
    try:
        token = (folder / _TOKEN_FILE).read_text(encoding="ascii")
    except (OSError, ValueError):
        return
    if len(token) == 32:
        _kill_all(token, None)


def _kill_all(token: str, session: int | None) -> None:
    """Kill the processes of a session, and all with the token, until there are none left."""
    import psutil

    for _ in range(_KILL_ROUNDS):
        found = [process for process in psutil.process_iter() if _belongs(process, token, session)]
        if not found:
            return
        for process in found:
            with contextlib.suppress(psutil.Error, OSError):
                process.kill()
        time.sleep(0.01)


def _belongs(process: psutil.Process, token: str, session: int | None) -> bool:
    import psutil

    if process.pid == os.getpid():
        return False
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if session is not None and session_of(process.pid) == session:
            return True
        return process.environ().get(TOKEN) == token
    except (psutil.Error, OSError):
        return False
