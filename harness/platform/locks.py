"""One lock a trial, so that two runs on one folder do not harm each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import HarnessError
from harness.fileio import make_folder, storage_error

_LOCK = ".lock"
_FOLDER_SECONDS = 60.0


@contextmanager
def trial_lock(folder: Path) -> Iterator[bool]:
    """Whether the lock of a trial's folder is ours meanwhile; it ends with the process that holds it, however."""
    from filelock import FileLock, Timeout

    make_folder(folder)
    lock = FileLock(folder / _LOCK)
    try:
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
    """Held while the files that all runs of a folder share are read and written anew."""
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
