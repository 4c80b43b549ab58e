"""Forked workers behave like workers started by a command, and their server may die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_worker import RecordingReporter

from harness.errors import HarnessError
from harness.orchestration.process.fork_launcher import ForkServerLauncher
from harness.orchestration.process.launchers import (
    INDUCTOR_CACHE,
    TOKEN,
    Launcher,
    SubprocessLauncher,
    fastest_launcher,
)
from harness.orchestration.process.supervisor import run_trial
from harness.orchestration.scheduler import ALL_OK, SOME_FAILED, RunOptions, run_plan
from harness.orchestration.trial_folder import prepare_folder
from harness.reporting.leaderboard import write_leaderboards
from harness.results.io import read_record
from harness.results.status import NO_RECORD_EXIT
from harness.training.prefetch import ThreadBatches, prefetched

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
HELPERS = Path(__file__).parents[3] / "helpers"
TOKEN_OF_TEST = "0123456789abcdef" * 2


@pytest.fixture(autouse=True)
def without_torch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is ready in a fifth of a second. In the long tests it imports what it does in a run."""
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setenv("PYTHONPATH", str(HELPERS), prepend=os.pathsep)
        monkeypatch.setattr("harness.orchestration.process.fork_launcher._SERVER_MODULE", "light_fork_server")


@pytest.fixture(params=["command", "fork server"])
def either(request: pytest.FixtureRequest) -> Iterator[Launcher]:
    if request.param == "command":
        yield SubprocessLauncher()
    else:
        with ForkServerLauncher() as server:
            yield server


def started(ready: Launcher, folder: Path) -> int:
    """A worker that prints into a file beside its trial's folder."""
    with (folder / "out.txt").open("wb") as output:
        return ready.start(folder, {TOKEN: TOKEN_OF_TEST, "OF_THIS_TRIAL": "1"}, output.fileno())


def ended(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def wait_until(what: Any) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_exit_code_and_output(either: Launcher, tmp_path: Path) -> None:
    pid = started(either, tmp_path)
    assert os.getsid(pid) == pid
    wait_until(lambda: ended(pid))
    assert either.reap(pid).code == NO_RECORD_EXIT
    assert not psutil.pid_exists(pid)
    assert "trial.json" in (tmp_path / "out.txt").read_text("utf-8")


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
def test_output_into_a_pipe_in_any_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """The server's own output is no pipe, and streams remember whether a position can be asked for."""
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    folder = tmp_path / "café ≈"
    folder.mkdir()
    read_end, write_end = os.pipe()
    with ForkServerLauncher() as server, os.fdopen(read_end, "rb") as output:
        pid = server.start(folder, {TOKEN: TOKEN_OF_TEST}, write_end)
        os.close(write_end)
        said = output.read().decode()
        assert server.reap(pid).code == NO_RECORD_EXIT
    assert said.startswith("error: ")
    assert "trial.json" in said
    assert ("café ≈" in said) == encoding.startswith("utf-8")


def test_a_signal_and_the_environment(either: Launcher, plan_of: Any, tmp_path: Path) -> None:
    (trial,) = plan_of(["hangs"]).trials
    prepare_folder(tmp_path, trial.spec)
    pid = started(either, tmp_path)
    # as another process sees it: leftovers of a killed run are found in this way
    wait_until(lambda: psutil.Process(pid).environ().get(TOKEN) == TOKEN_OF_TEST)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: ended(pid))
    assert either.reap(pid).code == -signal.SIGKILL


@pytest.mark.parametrize("own", [None, "mine"])
def test_all_trials_share_what_they_compile(
    plan_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str | None
) -> None:
    """Beside the packed data of the user, unless the user names a folder."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(INDUCTOR_CACHE, raising=False)
    if own is not None:
        monkeypatch.setenv(INDUCTOR_CACHE, own)
    (trial,) = plan_of(["hangs"]).trials
    folder = tmp_path / "trial"
    folder.mkdir()
    prepare_folder(folder, trial.spec)
    with ForkServerLauncher() as server:
        for launcher in (SubprocessLauncher(), server):
            pid = started(launcher, folder)
            wait_until(lambda pid=pid: INDUCTOR_CACHE in psutil.Process(pid).environ())
            assert psutil.Process(pid).environ()[INDUCTOR_CACHE] == (own or str(tmp_path / "cache" / "inductor"))
            os.kill(pid, signal.SIGKILL)
            launcher.reap(pid)


def test_peak_memory_between_two_samples_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record has the peak memory of a killed worker, however quickly it grew."""
    (tmp_path / "grows.py").write_text(
        "import os, signal\n"
        "def grow(arguments):\n"
        "    had = bytearray(b'x') * (1 << 30)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "import harness.orchestration.worker\n"
        "harness.orchestration.worker.run_and_exit = grow\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with ForkServerLauncher(["grows"]) as ready:
        pid = started(ready, tmp_path)
        wait_until(lambda: ended(pid))
        gone = ready.reap(pid)
    assert gone.code == -signal.SIGKILL
    assert 1 << 30 < gone.peak_memory < 3 << 30


@pytest.mark.slow
@pytest.mark.nightly
def test_the_same_record_as_by_a_command(plan_of: Any, tmp_path: Path) -> None:
    manifest = plan_of(["none"], seeds=2)
    with fastest_launcher() as ready:
        assert isinstance(ready, ForkServerLauncher)
        options = RunOptions(launcher=ready)
        assert run_plan(manifest, tmp_path / "forked", options, RecordingReporter(), write_leaderboards) == ALL_OK
    assert run_plan(manifest, tmp_path / "commands", RunOptions(), RecordingReporter(), write_leaderboards) == ALL_OK
    for trial in manifest.trials:
        a, b = (read_record(trial.folder(tmp_path / name) / "record.json") for name in ("forked", "commands"))
        assert (a.final_losses, a.scores, a.rule, a.machine) == (b.final_losses, b.scores, b.rule, b.machine)


def test_forks_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything then goes the way of the systems that cannot fork."""
    monkeypatch.setenv("HARNESS_FORK", "0")
    with fastest_launcher() as launcher:
        assert isinstance(launcher, SubprocessLauncher)
    batches = prefetched(lambda step: [], 0, "cuda")
    assert isinstance(batches, ThreadBatches)
    batches.close()


def test_a_killed_server_is_started_again(tmp_path: Path) -> None:
    with ForkServerLauncher() as ready:
        for _ in range(2):
            pid = started(ready, tmp_path)
            wait_until(lambda pid=pid: ended(pid))
            assert ready.reap(pid).code == NO_RECORD_EXIT
            server = psutil.Process().children()[0]
            server.kill()
            wait_until(lambda server=server: server.status() == psutil.STATUS_ZOMBIE)


def test_a_module_that_ends_its_server_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ends_its_process.py").write_text("import os\nos._exit(1)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with ForkServerLauncher(["ends_its_process"]) as ready:
        pid = started(ready, tmp_path)
        wait_until(lambda: ended(pid))
        assert ready.reap(pid).code == NO_RECORD_EXIT


@pytest.mark.slow
def test_a_server_killed_under_a_worker(plan_of: Any, tmp_path: Path) -> None:
    """The run still ends the worker at its limit, and starts the next trial."""
    manifest = plan_of(["hangs", "none"])

    class Killer(RecordingReporter):
        def progress(self, trial: Any, progress: Any) -> None:
            if trial.spec.method == "hangs" and progress.phase == "training":
                psutil.Process().children()[0].kill()

    with ForkServerLauncher() as ready:
        options = RunOptions(launcher=ready, wall_limit=20, grace=0.5)
        assert run_plan(manifest, tmp_path, options, Killer(), write_leaderboards) == SOME_FAILED
    statuses = {
        trial.spec.method: read_record(trial.folder(tmp_path) / "record.json").status for trial in manifest.trials
    }
    assert statuses == {"hangs": "timeout", "none": "ok"}


def test_the_server_ends_with_the_run() -> None:
    with ForkServerLauncher():
        (server,) = psutil.Process().children()
    assert not server.is_running()


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="cannot start no-such-program"):
        started(SubprocessLauncher(("no-such-program",)), tmp_path)


def test_run_trial_with_a_server_that_cannot_start(
    plan_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.orchestration.process.supervisor import Limits, StopRequest

    (trial,) = plan_of(["none"]).trials
    monkeypatch.setattr("harness.orchestration.process.launchers.sys.executable", "/bin/false")
    with ForkServerLauncher() as ready, pytest.raises(HarnessError, match="no process can be started"):
        run_trial(trial.spec, tmp_path, Limits(60, 2**32, 1), StopRequest(), lambda _: None, ready)


def test_what_the_server_imports_asks_for_no_gpu() -> None:
    """After a process has initialised CUDA, processes forked from it cannot use GPUs."""
    watched = """
import importlib, torch
asked = []
for name in ("_cuda_getDeviceCount", "_cuda_init"):
    setattr(torch._C, name, lambda name=name: asked.append(name) or 0)
torch.cuda._lazy_init = lambda: asked.append("_lazy_init")
from harness.orchestration.process.fork_server import PRELOADED
for module in (*PRELOADED, "methods.frameworks.detectron2.rcnn", "methods.frameworks.torchvision.rcnn"):
    importlib.import_module(module)
assert not asked, asked
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", watched], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
