"""Locks of folders, so that two runs in one folder do not harm each other. A lock ends with its process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import HarnessError, storage_error

_LOCK = ".lock"
_FOLDER_SECONDS = 60.0


@contextmanager
def trial_lock(folder: Path) -> Iterator[bool]:
    """Hold the lock of a trial's folder, if no other process does. Yields whether it is held. Raises StorageError."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / _LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    except OSError as error:
        raise storage_error(folder / _LOCK, error) from error
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def folder_lock(run_dir: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, to read and rewrite files that several runs share.

    Raises HarnessError where another process holds it for long, StorageError where it cannot be made.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(run_dir / _LOCK)
    try:
        lock.acquire(timeout=_FOLDER_SECONDS)
    except Timeout as error:
        raise HarnessError(f"{run_dir} is held by another run for more than {_FOLDER_SECONDS:.0f} s") from error
    except OSError as error:
        raise storage_error(run_dir / _LOCK, error) from error
    try:
        yield
    finally:
        lock.release()
