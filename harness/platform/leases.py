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

from harness.platform.files import create_new, remove

LEASE = ".lease"
LEASE_SECONDS = 120.0
RENEW_SECONDS = 15.0

_held: dict[Path, str] = {}
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
            _create(path, mine)
        except FileExistsError:
            theirs = _content(path)
            if theirs is None:
                continue
            left_here = alone_here and theirs.partition(" ")[2] == _this_machine()
            if not left_here and lease_age(folder) < LEASE_SECONDS:
                return None
            if not _end(path, theirs):
                return None
            continue
        _keep_renewed(path, mine)
        return mine
    return None


def release_lease(folder: Path, mine: str) -> None:
    """Give the lease back, unless another machine has taken it since."""
    path = folder / LEASE
    with _renewing:
        _held.pop(path, None)
    if _content(path) == mine:
        _end(path, mine)


def lease_age(folder: Path) -> float:
    """Seconds since the folder's lease was renewed, on the file system's own clock; infinite where there is none."""
    return _age(folder / LEASE)


def _end(path: Path, theirs: str) -> bool:
    """Remove a lease that has ended. False where it is another's by now, or another process is removing it.

    A file named after the lease's content says who is removing it, so that nobody removes a lease that was taken since:
    what has this content stays until the one that made the file removes it. Such a file ends like a lease.
    """
    remover = path.with_name(f"{LEASE}.{hashlib.sha256(theirs.encode()).hexdigest()[:16]}.tmp")
    try:
        _create(remover, secrets.token_hex(8))
    except FileExistsError:
        left = _content(remover)
        if left is not None and _age(remover) >= LEASE_SECONDS:
            _end(remover, left)
        return False
    try:
        if _content(path) != theirs:
            return False
        remove(path)
        return True
    except OSError:
        return False
    finally:
        with contextlib.suppress(OSError):
            remove(remover)


def _create(path: Path, content: str) -> None:
    descriptor = create_new(path)
    try:
        os.write(descriptor, content.encode())
    finally:
        os.close(descriptor)


def _age(path: Path) -> float:
    """Seconds since the file's time, on the file system's own clock; infinite where there is no file."""
    probe = path.with_name(f"{LEASE}.{secrets.token_hex(4)}.tmp")
    try:
        renewed = path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
    descriptor = create_new(probe)
    try:
        return max(0.0, os.fstat(descriptor).st_mtime - renewed)
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            remove(probe)


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


def _keep_renewed(path: Path, mine: str) -> None:
    """One thread renews all leases of this process."""
    global _renewer
    with _renewing:
        _held[path] = mine
        if _renewer is None or not _renewer.is_alive():
            _renewer = threading.Thread(target=_renew, name="leases", daemon=True)
            _renewer.start()


def _renew() -> None:
    while True:
        time.sleep(RENEW_SECONDS)
        with _renewing:
            leases = list(_held.items())
        for path, mine in leases:
            # where the disk is away for a while, the next time counts
            with contextlib.suppress(OSError):
                if _content(path) == mine:
                    os.utime(path)
