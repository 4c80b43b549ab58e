"""The folder of packed data sets between runs. A pack is written whole or not at all.

<user cache folder>/data/<source>/<state of its files>/ holds one pack. HARNESS_CACHE names another folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness.data.store.pack import FileSink, MemorySink, Pack, Sink, read_pack, write_index
from harness.platform.files import replace

PACK_VERSION = 5
"""Raised when the layout of a pack or of a fingerprint changes, or what is told of a data set."""


def cache_folder() -> Path:
    """The folder all packed data sets lie in; it need not exist."""
    import platformdirs

    named = os.environ.get("HARNESS_CACHE")
    return (Path(named) if named else Path(platformdirs.user_cache_dir("cell-segmentation-harness"))) / "data"


def cached(source: object, stamp: object, build: Callable[[Sink], Pack]) -> tuple[Pack, bool]:
    """The pack of a source, from the cache or built now.

    Where the cache cannot be written (full disk, read-only folder) the pack is built in memory.

    Args:
        source: JSON value that names the source.
        stamp: JSON value that changes with its files.
        build: makes the pack.

    Returns:
        The pack, and whether it is from the cache.
    """
    home = cache_folder() / _short_hash(source)
    final = home / _short_hash([PACK_VERSION, stamp])
    pack = read_pack(final)
    if pack is not None:
        return pack, True
    try:
        return _build_on_disk(home, final, build), False
    except OSError:
        return build(MemorySink()), False


def discard(source: object) -> None:
    """Remove every pack of a source."""
    shutil.rmtree(cache_folder() / _short_hash(source), ignore_errors=True)


def _build_on_disk(home: Path, final: Path, build: Callable[[Sink], Pack]) -> Pack:
    home.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".writing-", dir=home))
    try:
        with FileSink(work) as sink:
            # the pack maps its files, which Windows would not let move: it ends with this statement
            write_index(build(sink), work)
        _publish(work, final)
        _sweep(home, keep=final)
        pack = read_pack(final)
        if pack is None:
            raise OSError(f"{final} cannot be read back")
        return pack
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _publish(work: Path, final: Path) -> None:
    """Give a pack its name, unless another process has made a good one meanwhile. Raises OSError."""
    for _ in range(3):
        try:
            if final.exists():
                work.rename(final)
            else:
                replace(work, final)
            return
        except OSError:
            if read_pack(final) is not None:
                return
            # a damaged pack; aside first, so that a good one of another process is never removed
            aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=final.parent))
            with contextlib.suppress(OSError):
                final.rename(aside / "damaged")
            shutil.rmtree(aside, ignore_errors=True)
    raise OSError(f"{final} cannot be replaced")


def _sweep(home: Path, keep: Path) -> None:
    """Remove earlier states of the same source, and unfinished packs of processes that were killed over a day ago."""
    for other in home.iterdir():
        unfinished = other.name.startswith(".writing-")
        if other != keep and not (unfinished and time.time() - other.stat().st_mtime < 86400):
            shutil.rmtree(other, ignore_errors=True)


def _short_hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:24]
