"""Takes all a trial prints and keeps a bounded log of it; the trial never waits for the disk or for a full pipe."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from pathlib import Path

from harness.platform.files import create_or_empty

LOG_LIMIT = 20 * 2**20
"""Bytes. Of a longer output the beginning and the end are kept."""
_TAIL = 2**20
_CHUNK = 2**16


class LogPump:
    """Reads a descriptor until its other end is closed or `finish` is called, in a thread of its own."""

    def __init__(self, descriptor: int, path: Path, limit: int = LOG_LIMIT) -> None:
        self._descriptor = descriptor
        self._head_limit = max(limit - _TAIL, 0)
        self._written = 0
        self._tail = bytearray()
        self._left_out = 0
        self._last = b""
        self._done = threading.Event()
        try:
            self._file: int | None = create_or_empty(path)
        except OSError:
            # A log is worth less than the result: the trial goes on without one.
            self._file = None
        os.set_blocking(descriptor, False)
        self._thread = threading.Thread(target=self._pump, name="log", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Take what is still in the pipe, write the end of the log, and close both."""
        self._done.set()
        self._thread.join()
        os.close(self._descriptor)
        if self._left_out:
            self._write(f"\n[... {self._left_out:,} bytes left out ...]\n".encode())
        self._write(bytes(self._tail))
        if self._file is not None:
            os.close(self._file)

    def last_line(self) -> str:
        """The last line printed that is not empty."""
        lines = [line for line in self._last.decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""

    def _pump(self) -> None:
        while True:
            # Read before: what was in the pipe when the end was called is still taken.
            ending = self._done.is_set()
            readable, _, _ = select.select([self._descriptor], [], [], 0 if ending else 0.1)
            if readable:
                data = os.read(self._descriptor, _CHUNK)
                if not data:
                    return
                self._take(data)
            elif ending:
                return

    def _take(self, data: bytes) -> None:
        self._last = (self._last + data)[-4096:]
        room = self._head_limit - self._written
        if room > 0:
            self._write(data[:room])
            self._written += len(data[:room])
            data = data[room:]
        self._tail += data
        over = len(self._tail) - _TAIL
        if over > 0:
            self._left_out += over
            del self._tail[:over]

    def _write(self, data: bytes) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.write(self._file, data)
