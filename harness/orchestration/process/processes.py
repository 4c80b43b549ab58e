"""Starts a trial's process in a session of its own and ends it with all it has started, wherever that has gone.

Every process of a trial carries a token in its environment, which it hands on to what it starts. So a grandchild that
has left the process group is still found, and so is what an earlier run left behind when it was killed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.fileio import write_text_atomic
from harness.orchestration.process.fork_server import TOKEN
from harness.orchestration.process.launchers import Launcher, ProcessExit
from harness.platform.memory import memory_of

if TYPE_CHECKING:
    import psutil

_TOKEN_FILE = "worker.token"
_KILL_ROUNDS = 50
_SECONDS_BETWEEN_CHILDREN = 1.0


class TrialProcess:
    """A running worker. output: where what it prints can be read; progress: where its progress lines can be read."""

    def __init__(self, launcher: Launcher, folder: Path, environment: Mapping[str, str]) -> None:
        import psutil

        token = secrets.token_hex(16)
        write_text_atomic(folder / _TOKEN_FILE, token)
        self.output, output_end = os.pipe()
        self.progress, progress_end = os.pipe()
        os.set_blocking(progress_end, False)
        os.set_blocking(self.progress, False)
        try:
            self._pid = launcher.start(folder, {**environment, TOKEN: token}, output_end, progress_end)
        except HarnessError:
            os.close(self.output)
            os.close(self.progress)
            raise
        finally:
            os.close(output_end)
            os.close(progress_end)
        self._launcher, self._token = launcher, token
        self._leader = psutil.Process(self._pid)
        self._children_memory = 0
        self._children_looked_at = time.monotonic()

    def ended(self) -> bool:
        """Whether the worker has ended. It is not reaped yet, so that its number cannot become another's."""
        import psutil

        try:
            return self._leader.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        except psutil.NoSuchProcess:
            return True

    def ask_to_stop(self) -> None:
        """TERM to the worker alone: what it has started may be needed for its last checkpoint."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGTERM)

    def end_all(self) -> ProcessExit:
        """KILL the worker and all it has started; how the worker ended."""
        _kill_until_none(self._token, self._pid)
        return self._launcher.reap(self._pid)

    def memory(self) -> int:
        """Bytes resident in the worker and its descendants; pages that they share count once."""
        import psutil

        try:
            own: int = self._leader.memory_info().rss
        except psutil.Error:
            return 0
        if time.monotonic() - self._children_looked_at > _SECONDS_BETWEEN_CHILDREN:
            # too slow for every call: finding children reads through all processes of the machine
            self._children_memory = self._memory_of_children(own)
            self._children_looked_at = time.monotonic()
        return own + self._children_memory

    def _memory_of_children(self, own: int) -> int:
        """Bytes that the descendants hold beyond the `own` resident bytes of the worker."""
        import psutil

        with contextlib.suppress(psutil.Error):
            children = self._leader.children(recursive=True)
            if children:
                return max(0, memory_of([self._leader, *children]) - own)
        return 0


def end_leftovers(folder: Path) -> None:
    """KILL what an earlier run of the trial in `folder` has left running. Only for the holder of the trial's lock."""
    try:
        token = (folder / _TOKEN_FILE).read_text(encoding="ascii")
    except (OSError, ValueError):
        return
    if len(token) == 32:
        _kill_until_none(token, None)


def _kill_until_none(token: str, session: int | None) -> None:
    import psutil

    for _ in range(_KILL_ROUNDS):
        found = [process for process in psutil.process_iter() if _belongs(process, token, session)]
        if not found:
            return
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(0.01)


def _belongs(process: psutil.Process, token: str, session: int | None) -> bool:
    import psutil

    if process.pid == os.getpid():
        return False
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if session is not None and os.getsid(process.pid) == session:
            return True
        return process.environ().get(TOKEN) == token
    except (psutil.Error, OSError):
        return False
