"""Whether the kernel has ended processes for want of memory."""

from __future__ import annotations

import re
from pathlib import Path


def kernel_oom_kills() -> int | None:
    """How often since the start of the machine; None where the system does not tell."""
    try:
        found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None
