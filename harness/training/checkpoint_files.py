"""Checkpoint files: the newest intact one and the one before it, each with a checksum.

A file is one header line, `harness-checkpoint 1 STEP LENGTH SHA256`, followed by the bytes, which
harness/training/checkpoint.py makes.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path

from harness.fileio import write_bytes_atomic
from harness.platform.files import remove

_NAME = re.compile(r"state-(\d{9,12})\.ckpt")
_HEADER = re.compile(rb"harness-checkpoint 1 (\d{1,12}) (\d{1,15}) ([0-9a-f]{64})\n")
_HEADER_LIMIT = 128
"""Bytes; the longest header line has 114."""


def save_blob(folder: Path, step: int, data: bytes | bytearray | memoryview) -> Path:
    """Write the state after `step` steps and remove all others but the one before it. Raises StorageError.

    A state of a later step is removed as well: it was damaged, or training would have resumed from it.
    """
    header = f"harness-checkpoint 1 {step} {len(memoryview(data).cast('B'))} {hashlib.sha256(data).hexdigest()}\n"
    path = folder / f"state-{step:09d}.ckpt"
    write_bytes_atomic(path, header.encode(), data)
    earlier = [other for other, _ in _states(folder) if other < step]
    for other, old in _states(folder):
        if other != step and other != max(earlier, default=step):
            with contextlib.suppress(OSError):
                remove(old)
    return path


def newest_blob(folder: Path) -> tuple[int, bytes] | None:
    """Step and bytes of the newest state whose checksum matches; None where there is none."""
    for step, path in sorted(_states(folder), reverse=True):
        data = _read(path, step)
        if data is not None:
            return step, data
    return None


def remove_blobs(folder: Path) -> None:
    """Remove all states, when the trial has ended or starts again."""
    for _, path in _states(folder):
        with contextlib.suppress(OSError):
            remove(path)


def _states(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    named = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    return [(int(match[1]), path) for match, path in named if match and path.is_file() and not path.is_symlink()]


def _read(path: Path, step: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            header = _HEADER.fullmatch(file.readline(_HEADER_LIMIT))
            if header is None or int(header[1]) != step or int(header[2]) != path.stat().st_size - file.tell():
                return None
            data = file.read()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest().encode() == header[3] else None
