"""Writes files completely or not at all, even if the process is killed meanwhile.

The bytes go to a temporary file in the same folder, are flushed to the disk, and take the real name in one step. A
process killed at any moment leaves the old file or the new one, and at worst a `.NAME.XXXXXXXX.tmp` beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

from harness.errors import storage_error
from harness.platform.files import create_new, remove, replace, sync_folder

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


def write_bytes_atomic(path: Path, *chunks: bytes | bytearray | memoryview) -> None:
    """Replace the content of `path` by the chunks, one after the other. Raises StorageError."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        _write_through(temporary, chunks)
        replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        # after the replacement there is nothing under this name any more.
        with contextlib.suppress(OSError):
            remove(temporary)


def write_text_atomic(path: Path, text: str) -> None:
    """Write `text` as UTF-8, with its line ends unchanged. Raises StorageError."""
    write_bytes_atomic(path, text.encode("utf-8"))


def write_json_atomic(path: Path, value: Any) -> None:
    """Write `value` as JSON. Raises StorageError; ValueError for NaN and infinities, which are not JSON."""
    write_text_atomic(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def make_folder(path: Path) -> None:
    """Create a folder and its parents where they do not exist. Raises StorageError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error


def remove_empty_folder(path: Path) -> None:
    """Remove a folder where it is there and holds nothing."""
    with contextlib.suppress(OSError):
        path.rmdir()


def remove_temporaries(folder: Path) -> None:
    """Remove temporary files that killed processes have left. No other process may be writing to the folder."""
    with contextlib.suppress(OSError):
        for entry in folder.iterdir():
            if _TEMPORARY.fullmatch(entry.name):
                remove(entry)


def _write_through(path: Path, chunks: tuple[bytes | bytearray | memoryview, ...]) -> None:
    descriptor = create_new(path)
    try:
        for chunk in chunks:
            rest = memoryview(chunk).cast("B")
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
