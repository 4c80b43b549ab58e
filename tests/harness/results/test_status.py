from __future__ import annotations

import errno
import signal
from pathlib import Path

import pytest

from harness.errors import HarnessError, NoWeightsError, storage_error
from harness.platform.processes import KILL_SIGNAL
from harness.results.status import (
    REASON_LIMIT,
    Diverged,
    Interrupted,
    printable,
    status_from_exception,
    status_from_exit_code,
)


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError


def chained() -> Exception:
    error = RuntimeError("a worker failed")
    error.__cause__ = MemoryError()
    return error


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (ValueError("a\nb"), "crash", "ValueError: a b"),
        (HarnessError("no weights at x"), "crash", "no weights at x"),
        (NoWeightsError("none for this network"), "skipped", "none for this network"),
        (MemoryError(), "oom", "MemoryError"),
        (OutOfMemoryError("CUDA"), "oom", "OutOfMemoryError"),
        (RuntimeError("CUDA error: out of memory"), "oom", "out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "oom", "CUBLAS"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "oom", "CUDNN"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), "oom", "CUDNN"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "crash", "CUDNN"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "oom", "allocate"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried"), "oom", "memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "oom", "allocate"),
        (chained(), "oom", "a worker failed"),
        (ValueError("the word out of memory in a message"), "crash", "ValueError"),
        (Diverged("loss is nan"), "diverged", "loss is nan"),
        (Interrupted(), "interrupted", "checkpoint"),
        (storage_error(Path("a"), OSError(errno.ENOSPC, "")), "interrupted", "no space left"),
        (OSError(errno.ENOSPC, "No space left on device"), "interrupted", "No space left"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "crash", "FileNotFoundError"),
        (SystemExit(0), "crash", "sys.exit(0)"),
        (KeyboardInterrupt(), "crash", "KeyboardInterrupt"),
        (UnprintableError(), "crash", "cannot be printed"),
        (ValueError("x" * 10_000), "crash", "xxx"),
    ],
)
def test_exceptions(error: BaseException, status: str, words: str) -> None:
    found, reason = status_from_exception(error)
    assert found == status
    assert words in reason
    assert len(reason) <= REASON_LIMIT
    assert "\n" not in reason


@pytest.mark.parametrize(
    ("code", "kernel", "status", "words"),
    [
        (-KILL_SIGNAL, True, "oom", "want of memory"),
        (-KILL_SIGNAL, False, "interrupted", "signal 9"),
        (-signal.SIGTERM, False, "interrupted", "SIGTERM"),
        (-signal.SIGSEGV, False, "crash", "SIGSEGV (signal 11)"),
        (-signal.SIGABRT, True, "crash", "SIGABRT"),
        (0xC0000005, False, "crash", "STATUS_ACCESS_VIOLATION (0xC0000005)"),
        (0xC0000017, False, "oom", "STATUS_NO_MEMORY"),
        (0xC000013A, False, "interrupted", "Ctrl-C or a closed console"),
        (0xE06D7363, False, "crash", "an exception (0xE06D7363)"),
        (0, False, "crash", "exit status 0"),
        (3, False, "crash", "last words: bye"),
        (75, False, "interrupted", "bye"),
    ],
)
def test_exits(code: int, kernel: bool, status: str, words: str) -> None:
    found, reason = status_from_exit_code(code, kernel, "bye")
    assert (found, words in reason) == (status, True)


def test_a_line_cannot_steer_a_terminal() -> None:
    assert printable("a\x1b[31mb\r\nc\u202ed\x00") == "a[31mb cd"
