"""The write operations that tests make fail, one at a time."""

from __future__ import annotations

import os

WHAT = ("ENOSPC", "EIO", "kill")


def chosen(total: dict[str, int]) -> list[tuple[str, int, str]]:
    """Operation, count and fault: all with HARNESS_ALL_FAULTS, else every seventh, each kind in turn."""
    cases = [(name, count + 1, what) for name, counts in total.items() for count in range(counts) for what in WHAT]
    return cases if "HARNESS_ALL_FAULTS" in os.environ else cases[::7]
