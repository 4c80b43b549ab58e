"""Files that are written whole or not at all, whatever happens meanwhile.

The bytes go to a temporary file in the same folder, are flushed to the disk, and take the real name in one step. A
process killed at any moment leaves the old file or the new one, and at worst a `.NAME.XXXXXXXX.tmp` beside it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")

_REASONS = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no permission to write there",
    errno.ENOENT: "its folder is gone",
    errno.EIO: "the disk reports an input/output error",
}


class StorageError(HarnessError):
    """The disk would not take a file. What was there before is unharmed."""


def storage_error(path: Path, error: OSError) -> StorageError:
    """The line that names the path and why it cannot be written."""
    reason = _REASONS.get(error.errno or 0) or error.strerror or str(error)
    return StorageError(
        f"cannot write {path}: {reason}; what was written before is unharmed: mend that and type the same command again"
    )


def write_bytes_atomic(path: Path, *chunks: bytes | bytearray | memoryview) -> None:
    """Write the chunks, one after the other, as the new content of `path`. Raises StorageError."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        _write_through(temporary, chunks)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        # After os.replace there is nothing under this name any more.
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text_atomic(path: Path, text: str) -> None:
    """Write `text` as UTF-8, with the line ends as they are. Raises StorageError."""
    write_bytes_atomic(path, text.encode("utf-8"))


def write_json_atomic(path: Path, value: Any) -> None:
    """Write `value` as JSON. Raises StorageError; ValueError for NaN and infinities, which are not JSON."""
    write_text_atomic(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def make_folder(path: Path) -> None:
    """Create a folder and those above it, if need be. Raises StorageError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error


def remove_temporaries(folder: Path) -> None:
    """Remove what killed writers left in `folder`. Only for a folder no other process writes to."""
    with contextlib.suppress(OSError):
        for entry in folder.iterdir():
            if _TEMPORARY.fullmatch(entry.name):
                entry.unlink()


def _write_through(path: Path, chunks: tuple[bytes | bytearray | memoryview, ...]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        for chunk in chunks:
            rest = memoryview(chunk).cast("B")
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
