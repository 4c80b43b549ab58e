"""The machine and the software that a result was measured with, without names of people, hosts or folders."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from harness.monitoring.placement import placement_of_this_process
from harness.platform.memory import machine_memory
from harness.platform.processes import processor_name, usable_cores

DISTRIBUTION = "cell-segmentation-harness"
_COMMAND_SECONDS = 10.0


@cache
def machine_facts() -> dict[str, Any]:
    """cpu, cores_physical, cores_logical, cores_usable, memory (bytes), gpus, system and python.

    Also how the machine is shared, where this process runs a trial beside others.
    """
    import psutil

    return {
        "cpu": _cpu_model(),
        "cores_physical": psutil.cpu_count(logical=False),
        "cores_logical": psutil.cpu_count(),
        "cores_usable": usable_cores(),
        "memory": machine_memory(),
        "gpus": _gpus(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        **placement_of_this_process().facts(),
    }


def package_versions() -> dict[str, str]:
    """Versions, by name, of what the harness requires and of every package that this process has imported."""
    installed = _installed(tuple(sys.path))
    names = {DISTRIBUTION}
    try:
        required = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        required = []
    names.update(re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in required if "extra ==" not in line)
    loaded = {name.partition(".")[0] for name in sys.modules}
    names.update(package.name for package in installed.values() if loaded.intersection(package.modules))
    found = {name: installed.get(_normalised(name)) for name in sorted(names, key=str.lower)}
    return {name: package.version for name, package in found.items() if package is not None}


class _Package(NamedTuple):
    """An installed package, and the top-level modules that it says to have."""

    name: str
    version: str
    modules: tuple[str, ...]


@cache
def _installed(folders: tuple[str, ...]) -> dict[str, _Package]:
    """By normalised name, what is installed in folders of the search path; the first of a name counts.

    The two fields are read as text: parsing the metadata of all packages takes a large part of a second.
    """
    found: dict[str, _Package] = {}
    for distribution in metadata.distributions(path=list(folders)):
        text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
        head = re.split(r"\r?\n\r?\n", text, maxsplit=1)[0]
        fields = dict(re.findall(r"^(Name|Version):[ \t]*(\S+)", head, re.MULTILINE))
        if len(fields) == 2:
            # not metadata.packages_distributions, which reads every file name of every package
            modules = (distribution.read_text("top_level.txt") or "").split() or [fields["Name"]]
            package = _Package(fields["Name"], fields["Version"], tuple(modules))
            found.setdefault(_normalised(package.name), package)
    return found


def _normalised(name: str) -> str:
    """The one spelling of a package's name, as in PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def git_commit() -> str:
    """The commit of the checkout that the harness runs from, with "+changes" where files differ; "" without one."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    commit = _output("git", "--no-optional-locks", "-C", str(root), "rev-parse", "HEAD")
    changed = _output("git", "--no-optional-locks", "-C", str(root), "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+changes" if commit and changed else commit


def utc_now() -> str:
    """Date and time in UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _cpu_model() -> str:
    return (
        processor_name()
        or _output("sysctl", "-n", "machdep.cpu.brand_string")
        or platform.processor()
        or platform.machine()
    )


def _gpus() -> list[dict[str, str]]:
    lines = _output("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader").splitlines()
    rows = [[word.strip() for word in line.split(",")] for line in lines]
    return [{"name": row[0], "driver": row[1], "memory": row[2]} for row in rows if len(row) == 3]


def _output(*command: str) -> str:
    """The output of a command; "" where it is missing, fails or takes too long."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_COMMAND_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
