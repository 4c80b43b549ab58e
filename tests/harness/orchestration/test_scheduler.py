from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_worker
import psutil
import pytest
from fake_worker import WORKER, RecordingReporter, doubled, plan, rows, run

from harness.errors import HarnessError
from harness.orchestration.process.log_pump import LOG_LIMIT
from harness.orchestration.scheduler import ALL_OK, INTERRUPTED, SOME_FAILED
from harness.platform.processes import own_session
from harness.results.io import read_record, read_records

WINDOWS = sys.platform == "win32"
STOPS = [signal.CTRL_BREAK_EVENT] if sys.platform == "win32" else [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

LIMITS: dict[str, Any] = {"grace": 0.5, "wall_limit": 60.0, "memory_limit": 300 << 20}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def record(run_dir: Path, method: str) -> Any:
    return read_record(run_dir / "trials" / f"{method}--seed0" / "record.json")


MISBEHAVING = {
    "raises": ("crash", "ValueError: a mistake on two lines"),
    "segfaults": ("crash", "STATUS_ACCESS_VIOLATION" if WINDOWS else "SIGSEGV (signal 11)"),
    "eats_memory": ("oom", "--memory-limit"),
    "eats_memory_in_a_child": ("oom", "--memory-limit"),
    "memory_error": ("oom", "MemoryError"),
    "big_batch": ("oom", "CUDA out of memory"),
    "diverges": ("diverged", "loss_mask is nan at step 7"),
    "nan_scores": ("diverged", "without a finite score"),
    "garbage": ("crash", "AttributeError"),
    "prints": ("crash", "RuntimeError: the last words"),
    "forks": ("crash", "exit status 0 and left no record"),
    "exits": ("crash", "sys.exit(0)"),
    "exits_hard": ("crash", "exit status 3"),
    "killed": ("interrupted", "exit status 15" if WINDOWS else "SIGKILL (signal 9)"),
}


def test_each_misbehaviour_is_a_row_and_its_neighbours_are_unharmed(tmp_path: Path, figures: Any) -> None:
    quiet = tmp_path / "quiet"
    assert run(quiet, plan(["healthy"], 2)) == ALL_OK

    run_dir = tmp_path / "run"
    first, second = plan(["healthy"], 2).trials
    bad = plan(list(MISBEHAVING)).trials
    manifest = plan(["healthy"], 2).model_copy(update={"trials": (first, *bad, second)})
    before = {process.pid for process in psutil.process_iter()}
    assert run(run_dir, manifest, **LIMITS) == SOME_FAILED

    for method, (status, reason) in MISBEHAVING.items():
        found = record(run_dir, method)
        assert (found.status, found.seed) == (status, 0), method
        assert reason in found.reason
        assert "\n" not in found.reason
        assert (run_dir / found.log).is_file()
        assert found.data is not None
    found, problems = read_records(run_dir)
    assert len(found) == len(manifest.trials)
    assert problems == []
    healthy = [row for row in rows(run_dir) if row.startswith("('healthy")]
    assert healthy == rows(quiet)
    assert (run_dir / "leaderboard.csv").read_text("utf-8").splitlines() == rows(run_dir)

    log = run_dir / record(run_dir, "prints").log
    assert log.stat().st_size < LOG_LIMIT + 200
    assert "bytes left out" in log.read_text("utf-8")
    assert log.read_text("utf-8").rstrip().endswith("the last words")
    child = int((run_dir / "trials" / "forks--seed0" / "child.pid").read_text("utf-8"))
    assert child not in before
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    lost = len(manifest.trials) - len(found)
    figures("misbehaving adapters", rounds=len(MISBEHAVING), lost=lost, doubled=doubled(run_dir))


def test_a_hang_is_ended_and_the_next_goes_on(tmp_path: Path, figures: Any) -> None:
    manifest = plan(["hangs", "stops_late"])
    assert run(tmp_path, manifest, grace=0.5, wall_limit=2.0) == SOME_FAILED
    for method in ("hangs", "stops_late"):
        assert record(tmp_path, method).status == "timeout"
        assert "not done after 2 s; --wall-limit sets the limit" in record(tmp_path, method).reason
    lost = len(manifest.trials) - len(read_records(tmp_path)[0])
    figures("hanging adapters", rounds=2, lost=lost, doubled=doubled(tmp_path))


def test_a_second_run_does_only_what_is_missing(tmp_path: Path) -> None:
    first = RecordingReporter()
    assert run(tmp_path, plan(["healthy", "raises"], 2), first) == SOME_FAILED
    before = rows(tmp_path)

    again = RecordingReporter()
    assert run(tmp_path, plan(["healthy", "raises"], 3), again) == SOME_FAILED
    assert [name for what, name in again.events if what == "started"] == ["healthy--seed2", "raises--seed2"]
    assert [name for what, name in again.events if what == "kept"] == [
        "healthy--seed0",
        "raises--seed0",
        "healthy--seed1",
        "raises--seed1",
    ]
    assert set(before) < set(rows(tmp_path))

    retry = RecordingReporter()
    assert run(tmp_path, plan(["healthy", "raises"], 1), retry, retry_failed=True) == SOME_FAILED
    assert [name for what, name in retry.events if what == "started"] == ["raises--seed0"]
    assert run(tmp_path, plan(["healthy"], 3)) == ALL_OK


def test_other_work_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    assert run(tmp_path, plan(["healthy"])) == ALL_OK
    before = rows(tmp_path)
    with pytest.raises(HarnessError, match=r"the budget 60it, and now it is 70it; give another folder with --out"):
        run(tmp_path, plan(["healthy"], budget="70it"))
    assert rows(tmp_path) == before


def test_a_damaged_record_is_done_again(tmp_path: Path) -> None:
    assert run(tmp_path, plan(["healthy"], 2)) == ALL_OK
    before = rows(tmp_path)
    path = tmp_path / "trials" / "healthy--seed1" / "record.json"
    path.write_text(path.read_text("utf-8")[:-200])
    quiet = RecordingReporter()
    assert run(tmp_path, plan(["healthy"], 2), quiet) == ALL_OK
    assert ("started", "healthy--seed1") in quiet.events
    assert rows(tmp_path) == before


def test_out_of_memory_halves_the_micro_batch(tmp_path: Path) -> None:
    assert run(tmp_path, plan(["big_batch"]), on_oom="halve") == ALL_OK
    found = record(tmp_path, "big_batch")
    assert found.settings["micro_batches"] == 4
    assert any("4 parts" in note for note in found.cost.notes)


def test_halving_ends_at_one_image(tmp_path: Path) -> None:
    quiet = RecordingReporter()
    assert run(tmp_path, plan(["memory_error"]), quiet, on_oom="halve") == SOME_FAILED
    found = record(tmp_path, "memory_error")
    assert (found.status, found.settings["micro_batches"]) == ("oom", fake_worker.PRESET.training.batch)


def test_a_skipped_method_has_its_row(tmp_path: Path) -> None:
    manifest = plan(["healthy", "raises"])
    skipped = manifest.trials[1].model_copy(update={"skip_reason": "needs a package"})
    manifest = manifest.model_copy(update={"trials": (manifest.trials[0], skipped)})
    assert run(tmp_path, manifest) == ALL_OK
    assert (record(tmp_path, "raises").status, record(tmp_path, "raises").reason) == ("skipped", "needs a package")


def test_an_old_record_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    assert run(tmp_path, plan(["exits_hard"])) == SOME_FAILED
    path = tmp_path / "trials" / "exits_hard--seed0" / "record.json"
    first = path.read_text("utf-8")
    assert run(tmp_path, plan(["exits_hard"]), retry_failed=True) == SOME_FAILED
    assert path.read_text("utf-8") != first


def test_progress_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_FAKE_PAUSE", "0.02")
    quiet = RecordingReporter()
    run(tmp_path, plan(["healthy"]), quiet)
    told = [progress for what, progress in quiet.events if what == "progress"]
    assert told
    assert all(progress.phase == "training" and progress.loss is not None for progress in told)
    assert [progress.step for progress in told] == sorted(progress.step for progress in told)


# ------------------------------------------------------------------------------------- a run in its own process


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_FAKE_PAUSE", "0.05")


def start(run_dir: Path, methods: str = "healthy", seeds: int = 2) -> subprocess.Popen[bytes]:
    command = [*WORKER, "run", str(run_dir), methods, str(seeds)]
    how = own_session() if WINDOWS else {"start_new_session": True, "preexec_fn": as_from_a_terminal}
    return subprocess.Popen(command, **how)


def as_from_a_terminal() -> None:
    """Background jobs of a script ignore Ctrl-C, and so do their children."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def wait_for(path: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not any(path.parent.glob(path.name)):
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.02)


def send(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        process.send_signal(number)
    # os.kill of Python 3.11 says it with a SystemError
    except (OSError, SystemError) as error:
        process.kill()
        pytest.skip(f"Ctrl-Break needs a console, and Wine has none: {error}")


def workers_of(run_dir: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if any(str(run_dir) in word for word in process.cmdline()[2:]):
                found.append(process)
        except psutil.Error:
            pass
    return found


@pytest.fixture(scope="module")
def quiet_rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    folder = tmp_path_factory.mktemp("quiet")
    assert run(folder, plan(["healthy"], 2)) == ALL_OK
    return rows(folder)


@pytest.mark.parametrize("number", STOPS)
def test_a_request_to_stop_ends_with_a_checkpoint(
    tmp_path: Path, slow: None, quiet_rows: list[str], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(tmp_path)
    wait_for(tmp_path / "trials" / "healthy--seed0" / "state-*.ckpt")
    send(process, number)
    assert process.wait(20) == INTERRUPTED
    found = record(tmp_path, "healthy")
    assert found.status == "interrupted"
    assert found.reason.startswith("stopped at step")
    assert list((tmp_path / "trials" / "healthy--seed0").glob("state-*.ckpt"))
    assert not (tmp_path / "trials" / "healthy--seed1").exists()
    assert workers_of(tmp_path) == []

    monkeypatch.setenv("HARNESS_FAKE_PAUSE", "0.001")
    assert run(tmp_path, plan(["healthy"], 2)) == ALL_OK
    assert rows(tmp_path) == quiet_rows


def test_a_second_request_ends_at_once(tmp_path: Path) -> None:
    process = start(tmp_path, "hangs")
    wait_for(tmp_path / "trials" / "hangs--seed0" / "hangs")
    send(process, STOPS[0])
    time.sleep(1)
    assert process.poll() is None
    send(process, STOPS[0])
    begun = time.monotonic()
    assert process.wait(20) == INTERRUPTED
    assert time.monotonic() - begun < 5
    assert record(tmp_path, "hangs").status == "interrupted"


def test_two_runs_share_the_work(tmp_path: Path, slow: None, quiet_rows: list[str]) -> None:
    first, second = start(tmp_path), start(tmp_path)
    assert (first.wait(60), second.wait(60)) == (ALL_OK, ALL_OK)
    assert rows(tmp_path) == quiet_rows
    # Each trial ran once: a second attempt would have renamed the first log.
    assert not list(tmp_path.glob("trials/*/log.previous.txt"))


def test_what_a_killed_run_left_running_is_ended_by_the_next(
    tmp_path: Path, slow: None, quiet_rows: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(tmp_path, "healthy")
    wait_for(tmp_path / "trials" / "healthy--seed0" / "state-*.ckpt")
    (orphan,) = [p for p in workers_of(tmp_path) if p.pid != process.pid]
    orphan.suspend()  # so that it cannot notice that its parent is gone
    process.kill()
    process.wait()
    assert orphan.is_running()
    monkeypatch.setenv("HARNESS_FAKE_PAUSE", "0.001")
    assert run(tmp_path, plan(["healthy"], 2)) == ALL_OK
    assert not psutil.pid_exists(orphan.pid) or orphan.status() == psutil.STATUS_ZOMBIE
    assert rows(tmp_path) == quiet_rows


def test_an_orphan_writes_a_checkpoint_and_ends(tmp_path: Path, slow: None) -> None:
    process = start(tmp_path, "healthy")
    wait_for(tmp_path / "trials" / "healthy--seed0" / "state-*.ckpt")
    process.kill()
    process.wait()
    wait_for(tmp_path / "trials" / "healthy--seed0" / "record.json")
    assert record(tmp_path, "healthy").status == "interrupted"


def test_a_read_only_folder_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HarnessError, match="cannot write"):
        run(tmp_path / "file" / "run", plan(["healthy"]))


def test_outside_the_main_thread(tmp_path: Path) -> None:
    """A notebook or a service may call it from a thread, where signals cannot be handled."""
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run(tmp_path, plan(["healthy"]))))
    thread.start()
    thread.join()
    assert codes == [ALL_OK]


def test_the_wall_limit_leaves_out_warm_up_that_compiles(tmp_path: Path) -> None:
    manifest = plan(["compiles"])
    (trial,) = manifest.trials
    preset = trial.spec.preset.model_copy(update={"model": {"compile": True}})
    compiling = trial.model_copy(update={"spec": trial.spec.model_copy(update={"preset": preset})})
    for name, one, status in (("plain", trial, "timeout"), ("compiled", compiling, "ok")):
        run(tmp_path / name, manifest.model_copy(update={"trials": (one,)}), grace=0.5, wall_limit=2.0)
        assert record(tmp_path / name, "compiles").status == status
