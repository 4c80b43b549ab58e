"""Opening, replacing and flushing files where operating systems differ."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_BINARY = getattr(os, "O_BINARY", 0)
_PATIENCE = 2.0
"""Seconds. Windows replaces, removes and moves no file that another process has open, and opens none that is just being
replaced. Readers of this project close theirs at once, and so do virus scanners.
"""
T = TypeVar("T")


def open_to_read(path: Path) -> int:
    """A descriptor for reading an untrusted file: no link is followed, and a pipe does not block. Raises OSError."""
    no_follow = getattr(os, "O_NOFOLLOW", 0)
    if not no_follow and path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | no_follow | _BINARY
    if sys.platform == "win32" and path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return _patiently(lambda: os.open(path, flags))


def create_new(path: Path) -> int:
    """A descriptor to write to a file that must not exist yet. Raises OSError."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)


def create_or_empty(path: Path) -> int:
    """A descriptor to write to a file, emptied if it exists; a link is not followed. Raises OSError."""
    no_follow = getattr(os, "O_NOFOLLOW", 0)
    if not no_follow and path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | no_follow | _BINARY, 0o666)


def replace(source: Path, target: Path) -> None:
    """Give `source` the name `target`, in one step also where a file has it. Raises OSError."""
    _patiently(lambda: os.replace(source, target))


def remove(path: Path) -> None:
    """Remove a file, if it is there. Raises OSError."""
    _patiently(lambda: path.unlink(missing_ok=True))


def _patiently(do: Callable[[], T]) -> T:
    """Try again for a while where Windows refuses. Raises OSError."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return do()
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() > end:
                raise
            time.sleep(0.02)


_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?")


def is_reserved(name: str) -> bool:
    """Whether a file's name means a device on Windows, as con.png does."""
    return _RESERVED.fullmatch(name) is not None


def ignores_case(folder: Path) -> bool:
    """Whether a and A are one file in a folder that exists. Raises OSError where nothing can be written there."""
    with tempfile.NamedTemporaryFile(prefix=".Case-", dir=folder) as file:
        return Path(file.name).with_name(Path(file.name).name.swapcase()).exists()


def path_limit() -> int | None:
    """The most characters that a path may have; None where no folder of a run comes near it."""
    if sys.platform != "win32":
        return None
    import winreg

    with contextlib.suppress(OSError):
        place = winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem")
        with place:
            if winreg.QueryValueEx(place, "LongPathsEnabled")[0]:
                return None
    return 259


def sync_folder(folder: Path) -> None:
    """Make a new name in the folder survive a power cut. Windows has no such call, and needs none. Raises OSError."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
