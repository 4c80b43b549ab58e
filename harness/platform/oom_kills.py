"""Processes that the kernel has killed for lack of memory (OOM kills)."""

from __future__ import annotations

import re
from pathlib import Path

from harness.platform.cgroups import CGROUPS, groups, membership

_COUNTERS = ("memory.events", "memory.oom_control")
"""Files of a control group, version 2 and 1, that count the kills of its own processes."""


class OomKills:
    """Whether processes of some control groups were killed since they were first looked at.

    Kills of other jobs of a node are in other groups. Where no group counts, the count of the whole machine decides.
    """

    def __init__(self, root: Path = CGROUPS) -> None:
        self._root = root
        self._before: dict[Path, int] = {}
        self._machine_before = kernel_oom_kills()
        self.look_at("self")

    def look_at(self, process: int | str) -> None:
        """Watch the group of this process too. It may have moved since."""
        for group in groups("memory", membership(process), self._root):
            counters = [group / name for name in _COUNTERS if _count(group / name) is not None]
            for counter in counters:
                self._before.setdefault(counter, _count(counter) or 0)
            if counters:
                return

    def have_grown(self) -> bool:
        if not self._before:
            return kernel_oom_kills() != self._machine_before
        return any((_count(counter) or 0) > before for counter, before in self._before.items())


def kernel_oom_kills() -> int | None:
    """OOM kills since the machine started; None where the system does not report them."""
    return _count(Path("/proc/vmstat"))


def _count(path: Path) -> int | None:
    try:
        found = re.search(r"^oom_kill (\d+)$", path.read_text(encoding="ascii"), re.MULTILINE)
    except (OSError, ValueError):
        return None
    return int(found[1]) if found else None
