"""How a trial can end, and the one line that says why."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from typing import Any

from harness.errors import HarnessError, NoWeightsError, StorageError
from harness.platform.exit_codes import windows_exit
from harness.platform.processes import KILL_SIGNAL, STOP_SIGNALS, was_terminated
from harness.results.schema import Status

REASON_LIMIT = 300
"""Characters of a reason; the log has the rest."""

NO_RECORD_EXIT = 75
"""Exit status of a worker that cannot read its trial or write its record (EX_TEMPFAIL)."""

FAILED: frozenset[Status] = frozenset(("oom", "timeout", "crash", "diverged"))
"""What makes a run's exit status 1, and is done again only when asked."""

_OF_THE_DISK = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO))
_OOM_NAMES = frozenset(("MemoryError", "OutOfMemoryError"))
_OOM_WORDS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    # torch on Windows: DefaultCPUAllocator
    "not enough memory",
    # cuBLAS, cuDNN 8 and others: CUBLAS_STATUS_ALLOC_FAILED; cuDNN 9: CUDNN_STATUS_INTERNAL_ERROR_..._ALLOCATION_FAILED
    "_status_alloc_failed",
    "_allocation_failed",
)


class Diverged(Exception):  # noqa: N818 - an outcome, not a fault
    """A loss is no longer finite."""


class Interrupted(Exception):  # noqa: N818 - an outcome, not a fault
    """The trial was told to stop and has written a checkpoint."""


def status_from_exception(error: BaseException) -> tuple[Status, str]:
    """Status and reason of a trial whose work raised this."""
    if isinstance(error, Interrupted):
        return "interrupted", one_line(error) or "told to stop; a checkpoint is kept"
    if isinstance(error, Diverged):
        return "diverged", one_line(error) or "a loss is no longer finite"
    if isinstance(error, StorageError) or (isinstance(error, OSError) and error.errno in _OF_THE_DISK):
        # The disk's fault, not the method's: done again as soon as the disk takes files.
        return "interrupted", one_line(error)
    if isinstance(error, NoWeightsError):
        return "skipped", one_line(error)
    if isinstance(error, HarnessError):
        return "crash", one_line(error)
    if isinstance(error, SystemExit):
        return "crash", f"the method called sys.exit({error.code!r}) before its work was done"[:REASON_LIMIT]
    named = f"{type(error).__name__}: {one_line(error)}"[:REASON_LIMIT]
    return ("oom" if is_out_of_memory(error) else "crash"), named


def status_from_exit_code(code: int, kernel_ran_out: bool, last_line: str) -> tuple[Status, str]:
    """Status and reason of a process that ended without a record and was not ended by us.

    code: as subprocess gives it, negative for a signal, large for an exception of Windows. kernel_ran_out: whether the
    kernel may have killed it for want of memory.
    """
    if code == -KILL_SIGNAL and kernel_ran_out:
        return "oom", "killed by the system for want of memory (signal 9)"
    if -code in (KILL_SIGNAL, *STOP_SIGNALS):
        return "interrupted", f"ended from outside by {_signal_name(-code)}"
    if code < 0:
        return "crash", f"the process was ended by {_signal_name(-code)}; its log says where it was"
    if was_terminated(code):
        return "interrupted", f"ended from outside (exit status {code})"
    if (told := windows_exit(code)) is not None:
        status, name = told
        if status == "interrupted":
            return status, f"ended from outside by {name}"
        return status, f"the process was ended by {name}; its log says where it was"
    if code == NO_RECORD_EXIT:
        return "interrupted", f"the worker could not do its part: {last_line}"[:REASON_LIMIT]
    said = f"; last words: {last_line}" if last_line else ""
    return "crash", f"the process ended with exit status {code} and left no record{said}"[:REASON_LIMIT]


def one_line(error: BaseException) -> str:
    """The message on one line, cut to REASON_LIMIT, without control characters."""
    try:
        text = str(error)
    except Exception:
        return f"(a {type(error).__name__} that cannot be printed)"
    return printable(text)


def printable(text: str, limit: int = REASON_LIMIT) -> str:
    """Text on one line, cut to so many characters, without those that steer a terminal."""
    words = " ".join(text[: 10 * limit].split())
    return "".join(character for character in words if character.isprintable())[:limit]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error, or one that it was raised from, says that there was not enough memory."""
    for link in _chain(error):
        if _OOM_NAMES & {base.__name__ for base in type(link).__mro__}:
            return True
        if isinstance(link, RuntimeError | OSError) and any(w in one_line(link).lower() for w in _OOM_WORDS):
            return True
    return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__


def _signal_name(number: int) -> str:
    names: dict[int, Any] = {member.value: member.name for member in signal.Signals}
    return f"{names.get(number, 'signal')} (signal {number})"
