"""The memory of a trial, as its supervisor sees it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from systems import tells_what_is_shared

from harness.orchestration.process import trial_process
from harness.orchestration.process.launchers import ProcessExit
from harness.orchestration.process.trial_process import TrialProcess

FORKS = """
import os, sys, time
block = bytearray(b"x") * (100 << 20)
for _ in range(4):
    if not os.fork():
        time.sleep(600)
print("ready", flush=True)
time.sleep(600)
"""


class Starter:
    """Starts a program that is no worker."""

    def start(self, folder: Path, environment: Mapping[str, str], output: int) -> int:
        command, variables = [sys.executable, "-c", FORKS], {**os.environ, **environment}
        self.process = subprocess.Popen(command, stdout=output, env=variables, start_new_session=True)
        return self.process.pid

    def reap(self, pid: int) -> ProcessExit:
        return ProcessExit(self.process.wait(), 0)


@tells_what_is_shared
def test_what_makers_of_batches_share_with_their_trial_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted twice, four of them make a trial seem five times as large, and it is ended for lack of memory."""
    monkeypatch.setattr(trial_process, "_CHILDREN_INTERVAL", 0.0)
    process = TrialProcess(Starter(), tmp_path, {})
    try:
        assert os.read(process.output, 5) == b"ready"
        time.sleep(0.1)
        assert 100 << 20 < process.memory() < 150 << 20
    finally:
        process.kill()
        os.close(process.output)
