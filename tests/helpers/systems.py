"""What a test needs that not every system has."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

needs_named_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with a name")
needs_forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no process")
reads_pythonpath = pytest.mark.skipif(sys.flags.ignore_environment, reason="this Python reads no PYTHONPATH")
tells_what_is_shared = pytest.mark.skipif(
    sys.platform != "linux" or not Path("/proc/self/smaps_rollup").exists(),
    reason="the system does not tell what processes share",
)


def link(path: Path, target: Path | str) -> None:
    """Make `path` a symbolic link. Skips the test where the system does not let us, or does not tell it from a file."""
    try:
        path.symlink_to(target)
    except OSError as error:
        pytest.skip(f"this system makes no symbolic links here: {error.strerror}")
    if not path.is_symlink():
        pytest.skip("this system, as Wine, does not tell a symbolic link from a file")
