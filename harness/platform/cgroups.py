"""Control groups of Linux, versions 1 and 2: where the limits and counters of a process are, also in nested groups."""

from __future__ import annotations

from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def membership(process: int | str = "self") -> str:
    """What the system says of a process's groups: lines of hierarchy, controllers and path; "" where it says none."""
    try:
        return Path(f"/proc/{process}/cgroup").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def groups(controller: str, member_of: str, root: Path = CGROUPS) -> list[Path]:
    """Folders of the groups that may rule a controller for a process, each before those above it.

    Args:
        controller: as in "memory" or "cpu".
        member_of: what `membership` returns.
        root: where the groups are mounted.
    """
    found: dict[Path, None] = {}
    for line in member_of.splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3 or (parts[1] and controller not in parts[1].split(",")):
            continue
        for top in (root / parts[1], root / controller) if parts[1] else (root, root / "unified"):
            # in a container the path may be that of the host, while the root that is mounted is its own group
            group = top / parts[2].lstrip("/")
            found |= dict.fromkeys(g for g in (group, *group.parents) if g.is_relative_to(top))
    return [folder for folder in found if folder.is_dir()]
