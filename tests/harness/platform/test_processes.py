"""Processes are asked to stop, waited for and killed by the means of each system."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from harness.platform.processes import (
    KILL_SIGNAL,
    STOP_SIGNALS,
    own_session,
    session_of,
    usable_core_numbers,
    usable_cores,
    wait_readable,
)

GROUP = """
import os, subprocess, sys, time
from harness.platform.processes import kill_own_group
{hidden}
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
kill_own_group()
print("alive", flush=True)
"""


def test_the_signals_are_those_of_this_system() -> None:
    assert {signal.SIGINT, signal.SIGTERM} <= set(STOP_SIGNALS)
    assert getattr(signal, "SIGKILL", 9) == KILL_SIGNAL


@pytest.mark.parametrize(
    "hidden", ["", "vars(os).pop('killpg', None)"], ids=["as this system has it", "without groups"]
)
def test_a_process_ends_with_all_of_its_group(hidden: str) -> None:
    psutil = pytest.importorskip("psutil")
    done = subprocess.run(
        [sys.executable, "-c", GROUP.format(hidden=hidden)],
        capture_output=True,
        text=True,
        **own_session(),
        check=False,
    )
    number = int(done.stdout.split()[0])
    assert "alive" not in done.stdout
    end = time.monotonic() + 20
    while psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end, "the child lives on"
        time.sleep(0.05)


def test_a_pipe_is_waited_for_as_long_as_asked() -> None:
    reading, writing = os.pipe()
    begin = time.monotonic()
    assert not wait_readable(reading, 0.2)
    assert time.monotonic() - begin >= 0.19
    os.write(writing, b"a")
    assert wait_readable(reading, 10)
    os.read(reading, 1)
    os.close(writing)
    assert wait_readable(reading, 10), "a pipe whose other end is closed can be read: there is nothing"
    os.close(reading)


def test_there_are_cores_and_a_session() -> None:
    assert 1 <= usable_cores() == len(usable_core_numbers()) <= (os.cpu_count() or 1)
    assert session_of(os.getpid()) == (os.getsid(0) if hasattr(os, "getsid") else None)
