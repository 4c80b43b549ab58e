"""Locks of folders, so that two runs in one folder do not harm each other. A lock ends with its process.

A lock is one of the system, which ends at once with its process, and a lease, which other machines see.
"""

from __future__ import annotations

import errno
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, storage_error
from harness.platform.leases import release_lease, take_lease

_LOCK = ".lock"
_FOLDER_SECONDS = 60.0
_POLL = 0.05


@contextmanager
def trial_lock(folder: Path) -> Iterator[bool]:
    """Hold the lock of a trial's folder, if no other process does. Yields whether it is held. Raises StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(folder / _LOCK, error) from error
    with _held(folder, 0.0) as ours:
        yield ours


@contextmanager
def folder_lock(run_dir: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, to read and rewrite files that several runs share.

    Raises HarnessError where another process holds it for long, StorageError where it cannot be made.
    """
    with _held(run_dir, _FOLDER_SECONDS) as ours:
        if not ours:
            raise HarnessError(f"{run_dir} is held by another run for more than {_FOLDER_SECONDS:.0f} s")
        yield


@contextmanager
def _held(folder: Path, seconds: float) -> Iterator[bool]:
    """Hold a folder's lock, after waiting for it at most so long. Yields whether it is held."""
    from filelock import FileLock, Timeout

    lock, end = FileLock(folder / _LOCK, **_without_soft_lock(FileLock.__init__)), time.monotonic() + seconds
    alone_here = True
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        yield False
        return
    except NotImplementedError:
        alone_here = False
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOTSUP):
            raise storage_error(folder / _LOCK, error) from error
        alone_here = False
    try:
        lease = take_lease(folder, alone_here)
        while lease is None and time.monotonic() < end:
            time.sleep(_POLL)
            lease = take_lease(folder, alone_here)
    except OSError as error:
        lock.release()
        raise storage_error(folder / _LOCK, error) from error
    try:
        yield lease is not None
    finally:
        if lease is not None:
            release_lease(folder, lease)
        lock.release()


def _without_soft_lock(initialise: Callable[..., None]) -> dict[str, Any]:
    """Arguments that keep filelock from a lock by the file's existence, which stays when its machine has died.

    initialise: of the class of lock. Only later versions of filelock have such a lock.
    """
    name = "fallback_to_soft"
    return {name: False} if name in inspect.signature(initialise).parameters else {}
