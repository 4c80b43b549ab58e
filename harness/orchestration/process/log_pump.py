"""Reads everything that a trial prints and writes a log of bounded size, so that the trial never waits for a reader."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from harness.platform.files import create_or_empty
from harness.platform.processes import wait_readable

LOG_LIMIT = 20 * 2**20
"""Bytes of a log. Of a longer output, the beginning and the end are kept."""
_TAIL = 2**20
_CHUNK = 2**16


class LogPump:
    """A thread that reads a file descriptor until its other end is closed, or `finish` is called."""

    def __init__(self, descriptor: int, path: Path, limit: int = LOG_LIMIT) -> None:
        """Start reading. Where the log cannot be opened, the output is read and dropped."""
        self._descriptor = descriptor
        self._head_limit = max(limit - _TAIL, 0)
        self._head_written = 0
        self._tail = bytearray()
        self._dropped = 0
        self._last = b""
        self._finishing = threading.Event()
        try:
            self._file: int | None = create_or_empty(path)
        except OSError:
            # A log that cannot be written does not stop the trial.
            self._file = None
        self._thread = threading.Thread(target=self._pump, name="log", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait until the other end is closed, which is mostly when the trial ends, at most so long. Whether it is."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def finish(self) -> None:
        """Read what is left in the pipe, write the end of the log, and close both."""
        self._finishing.set()
        self._thread.join()
        os.close(self._descriptor)
        if self._dropped:
            self._write(f"\n[... {self._dropped:,} bytes left out ...]\n".encode())
        self._write(bytes(self._tail))
        if self._file is not None:
            os.close(self._file)

    def last_line(self) -> str:
        """The last printed line that is not empty."""
        lines = [line for line in self._last.decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""

    def _pump(self) -> None:
        while True:
            # Before select: whatever was in the pipe when `finish` was called is still read.
            finishing = self._finishing.is_set()
            if wait_readable(self._descriptor, 0 if finishing else 0.1):
                data = os.read(self._descriptor, _CHUNK)
                if not data:
                    return
                self._add(data)
            elif finishing:
                return

    def _add(self, data: bytes) -> None:
        self._last = (self._last + data)[-4096:]
        room = self._head_limit - self._head_written
        if room > 0:
            self._write(data[:room])
            self._head_written += len(data[:room])
            data = data[room:]
        self._tail += data
        excess = len(self._tail) - _TAIL
        if excess > 0:
            self._dropped += excess
            del self._tail[:excess]

    def _write(self, data: bytes) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.write(self._file, data)
