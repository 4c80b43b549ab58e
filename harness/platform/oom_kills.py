"""Number of processes that the kernel has killed for lack of memory (OOM kills)."""

from __future__ import annotations

import re
from pathlib import Path


def kernel_oom_kills() -> int | None:
    """OOM kills since the machine started; None where the system does not report them."""
    try:
        found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None
