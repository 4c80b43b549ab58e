"""The job script of a SLURM array, run by bash alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.orchestration.engines.slurm import job_script

pytestmark = pytest.mark.skipif(shutil.which("bash") is None or sys.platform == "win32", reason="there is no bash")

ENDS_WHEN_ASKED = """\
#!{python} -S
import os, signal, sys
def end(*_): os._exit(75)
signal.signal(signal.SIGTERM, end)
open("{folder}/ready", "w").close()
while True: signal.pause()
"""
SAYS_WHAT_IT_WAS_ASKED = '#!/bin/sh\necho RUNNING\necho "$0 $*" >> {folder}/asked\n'


def executable(path: Path, text: str) -> None:
    path.write_text(text.format(python=sys.executable, folder=path.parent))
    path.chmod(0o755)


@pytest.mark.parametrize("attempt", range(6))
def test_a_trial_that_ends_at_once_when_asked_goes_back_to_the_queue(tmp_path: Path, attempt: int) -> None:
    """It may have ended before the script waits for it again."""
    executable(tmp_path / "python", ENDS_WHEN_ASKED)
    executable(tmp_path / "squeue", SAYS_WHAT_IT_WAS_ASKED)
    executable(tmp_path / "scontrol", SAYS_WHAT_IT_WAS_ASKED)
    (tmp_path / "names.txt").write_text("mask_rcnn--seed0\n")
    (tmp_path / "job.sh").write_text(job_script())
    job = {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_JOB_ID": "1", "SLURM_JOB_ID": "1", "SLURMD_NODENAME": "n1"}
    script = subprocess.Popen(
        ["bash", "job.sh", "names.txt", str(tmp_path), str(tmp_path / "python")],
        cwd=tmp_path,
        env={**os.environ, **job, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 60
        while not (tmp_path / "ready").exists():
            assert time.monotonic() < end
            time.sleep(0.01)
        script.send_signal(signal.SIGTERM)
        assert script.wait(60) == 75
    finally:
        script.kill()
    asked = (tmp_path / "asked").read_text("utf-8")
    assert f"{tmp_path}/squeue -h -j 1_0 " in asked, "1 would be all jobs of the array"
    assert f"{tmp_path}/scontrol requeue 1_0\n" in asked
