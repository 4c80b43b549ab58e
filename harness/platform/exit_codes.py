"""Exit codes with which Windows ends a process. Those of other systems are below 256, or negative for a signal."""

from __future__ import annotations

from typing import Literal

_NO_MEMORY = {0xC0000017: "STATUS_NO_MEMORY", 0xC000012D: "STATUS_COMMITMENT_LIMIT", 0xE0000008: "out of memory"}
_FROM_OUTSIDE = {
    0xC000013A: "Ctrl-C or a closed console (STATUS_CONTROL_C_EXIT)",
    0x40010004: "the end of the session (DBG_TERMINATE_PROCESS)",
}
_FAULTS = {
    0xC0000005: "STATUS_ACCESS_VIOLATION",
    0xC000001D: "STATUS_ILLEGAL_INSTRUCTION",
    0xC0000094: "STATUS_INTEGER_DIVIDE_BY_ZERO",
    0xC00000FD: "STATUS_STACK_OVERFLOW",
    0xC0000135: "STATUS_DLL_NOT_FOUND",
    0xC0000374: "STATUS_HEAP_CORRUPTION",
    0xC0000409: "STATUS_STACK_BUFFER_OVERRUN, which is also how a library gives up",
}


def windows_exit(code: int) -> tuple[Literal["oom", "interrupted", "crash"], str] | None:
    """What a code of Windows says, as a status and the name of the code; None where it is no code of Windows."""
    if code in _NO_MEMORY:
        return "oom", f"{_NO_MEMORY[code]} (0x{code:08X})"
    if code in _FROM_OUTSIDE:
        return "interrupted", _FROM_OUTSIDE[code]
    if code > 0xFFFF:
        return "crash", f"{_FAULTS.get(code, 'an exception')} (0x{code:08X})"
    return None
