"""What differs most between systems also works on a Windows Python, where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform == "win32", reason="this is Windows: the whole suite runs there")
def test_the_quick_subset_passes_there() -> None:
    if not os.environ.get("HARNESS_WINDOWS_PYTHON"):
        pytest.skip("HARNESS_WINDOWS_PYTHON names no Windows Python")
    done = subprocess.run([sys.executable, str(RUN), "--quick"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_a_windows_python_it_says_so() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HARNESS_WINDOWS_PYTHON"}
    done = subprocess.run([sys.executable, str(RUN)], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "skipped: HARNESS_WINDOWS_PYTHON names no Windows Python")
