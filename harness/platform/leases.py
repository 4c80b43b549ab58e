"""Leases: locks that end with the machine that holds them, on disks that several machines share.

A system's lock of a file is not seen by other machines on many network file systems, and where it is, that of a machine
that has died may stay. A lease is a small file beside it. Its holder renews the file's time; a lease that has not been
renewed for LEASE_SECONDS is anyone's. Times are those of the file system, so that clocks need not agree.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import secrets
import threading
import time
from functools import cache
from pathlib import Path

from harness.platform.files import create_new

LEASE = ".lease"
LEASE_SECONDS = 120.0
RENEW_SECONDS = 15.0

_held: set[Path] = set()
_renewing = threading.Lock()
_renewer: threading.Thread | None = None


def take_lease(folder: Path, alone_here: bool) -> str | None:
    """Take the folder's lease, if nobody has it.

    Args:
        folder: which exists.
        alone_here: whether a lock of the system keeps all other processes of this machine away, so that a lease of this
            machine is that of a process that has ended.

    Returns:
        What to give to `release_lease`; None where another machine has the lease.

    Raises:
        OSError: the disk takes no file.
    """
    path, mine = folder / LEASE, f"{secrets.token_hex(8)} {_this_machine()}"
    for _ in range(3):
        try:
            descriptor = create_new(path)
        except FileExistsError:
            theirs = _content(path)
            if theirs is None:
                continue
            left_here = alone_here and theirs.partition(" ")[2] == _this_machine()
            if not left_here and lease_age(folder) < LEASE_SECONDS:
                return None
            if not _remove(path, theirs):
                return None
            continue
        try:
            os.write(descriptor, mine.encode())
        finally:
            os.close(descriptor)
        _keep_renewed(path)
        return mine
    return None


def release_lease(folder: Path, mine: str) -> None:
    """Give the lease back, unless another machine has taken it since."""
    path = folder / LEASE
    with _renewing:
        _held.discard(path)
    if _content(path) == mine:
        with contextlib.suppress(OSError):
            path.unlink()


def lease_age(folder: Path) -> float:
    """Seconds since the folder's lease was renewed, on the file system's own clock; infinite where there is none."""
    probe = folder / f"{LEASE}.{secrets.token_hex(4)}.tmp"
    try:
        renewed = (folder / LEASE).stat().st_mtime
    except FileNotFoundError:
        return float("inf")
    descriptor = create_new(probe)
    try:
        return max(0.0, os.fstat(descriptor).st_mtime - renewed)
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            probe.unlink()


def _remove(path: Path, theirs: str) -> bool:
    """Remove a lease that has ended. False where another process was quicker, or has taken it anew meanwhile."""
    aside = path.with_name(f"{LEASE}.{secrets.token_hex(4)}.tmp")
    try:
        path.rename(aside)
    except OSError:
        return False
    found = _content(aside)
    try:
        if found != theirs and not path.exists():
            aside.rename(path)
            return False
        return found == theirs
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()


def _content(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:200]
    except OSError:
        return None


@cache
def _this_machine() -> str:
    """Equal for all processes of this machine since it was started. Not its name, which is nobody's business."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        boot = ""
    return hashlib.sha256(f"{platform.node()} {boot}".encode()).hexdigest()[:16]


def _keep_renewed(path: Path) -> None:
    """One thread renews all leases of this process."""
    global _renewer
    with _renewing:
        _held.add(path)
        if _renewer is None or not _renewer.is_alive():
            _renewer = threading.Thread(target=_renew, name="leases", daemon=True)
            _renewer.start()


def _renew() -> None:
    while True:
        time.sleep(RENEW_SECONDS)
        with _renewing:
            paths = list(_held)
        for path in paths:
            # where the disk is away for a while, the next time counts
            with contextlib.suppress(OSError):
                os.utime(path)
