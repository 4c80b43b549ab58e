"""A kill by the kernel's OOM killer, provoked in a control group, is not confused with any other SIGKILL."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_worker
import pytest
from fake_worker import WORKER, doubled, plan, rows, run

from harness.orchestration.process.launchers import SubprocessLauncher
from harness.orchestration.scheduler import ALL_OK, SOME_FAILED
from harness.platform import oom_kills
from harness.platform.oom_kills import OomKills, kernel_oom_kills
from harness.results.io import read_record, read_records
from harness.results.schema import RunRecord

LIMIT = 256 << 20
REASON = "killed by the system for want of memory (signal 9)"


def parents() -> Iterator[tuple[Path, str]]:
    """Parent groups for a test group, with the file of its limit: the own group first, then the root."""
    own = {
        controllers: path.lstrip("/")
        for _, controllers, path in (
            line.split(":", 2) for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
        )
    }
    top = Path("/sys/fs/cgroup")
    for path in dict.fromkeys([own.get("memory", ""), ""]):
        yield top / "memory" / path, "memory.limit_in_bytes"
    for path in dict.fromkeys([own.get("", ""), ""]):
        # No controller is enabled: that would change a group that belongs to others.
        with contextlib.suppress(OSError):
            if "memory" in (top / path / "cgroup.subtree_control").read_text(encoding="ascii").split():
                yield top / path, "memory.max"


@pytest.fixture
def worker_in_a_group(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
    """The command of a worker that the kernel kills when it holds more than LIMIT bytes."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if sys.platform != "linux" or kernel_oom_kills() is None:
        pytest.skip("this system does not count its kills for want of memory")
    group, refused = None, []
    for parent, limit in parents():
        made = parent / f"harness-test-{os.getpid()}"
        try:
            made.mkdir()
            group = made
            (made / limit).write_text(str(LIMIT), encoding="ascii")
            break
        except OSError as error:
            refused.append(f"{made}: {error.strerror}")
            if group is not None:
                group.rmdir()
                group = None
    if group is None:
        pytest.skip(f"no control group with a limit of memory can be made: {'; '.join(refused) or 'no controller'}")
    try:
        yield ("sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs"), *WORKER)
    finally:
        for _ in range(100):
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.05)


def record(run_dir: Path, method: str) -> RunRecord:
    return read_record(run_dir / "trials" / f"{method}--seed0" / "record.json")


def test_a_kill_by_the_kernel_is_out_of_memory(
    tmp_path: Path, worker_in_a_group: tuple[str, ...], figures: Any
) -> None:
    assert run(tmp_path / "quiet", plan(["healthy"], 2)) == ALL_OK

    first, second = plan(["healthy"], 2).trials
    manifest = plan(["healthy"], 2).model_copy(update={"trials": (first, *plan(["eats_memory"]).trials, second)})
    before = kernel_oom_kills()
    assert run(tmp_path / "run", manifest, launcher=SubprocessLauncher(worker_in_a_group)) == SOME_FAILED
    assert before is not None
    assert (kernel_oom_kills() or 0) > before
    found = record(tmp_path / "run", "eats_memory")
    assert (found.status, found.reason) == ("oom", REASON)
    assert found.cost.peak_host_rss is not None
    assert LIMIT / 2 < found.cost.peak_host_rss < 1.1 * LIMIT
    assert [row for row in rows(tmp_path / "run") if row.startswith("('healthy")] == rows(tmp_path / "quiet")

    # Repeated with smaller micro-batches, as after any other OOM, down to one image.
    again = {"launcher": SubprocessLauncher(worker_in_a_group), "retry_failed": True, "on_oom": "halve"}
    assert run(tmp_path / "run", manifest, **again) == SOME_FAILED
    found = record(tmp_path / "run", "eats_memory")
    assert (found.status, found.settings["micro_batches"]) == ("oom", fake_worker.PRESET.training.batch)
    kept = len(read_records(tmp_path / "run")[0])
    assert kept == 3
    kills = (kernel_oom_kills() or 0) - before
    figures("the kernel's kills for want of memory", rounds=kills, lost=3 - kept, doubled=doubled(tmp_path / "run"))


def test_another_sigkill_is_not(tmp_path: Path, worker_in_a_group: tuple[str, ...]) -> None:
    run(tmp_path, plan(["killed"]), launcher=SubprocessLauncher(worker_in_a_group))
    found = record(tmp_path, "killed")
    assert (found.status, found.reason) == ("interrupted", "ended from outside by SIGKILL (signal 9)")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL, and kills nobody for want of memory")
@pytest.mark.parametrize(
    ("counts", "status"), [((3, 4), "oom"), ((3, 3), "interrupted"), ((None, None), "interrupted")]
)
def test_a_sigkill_is_judged_by_the_kernels_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: tuple[int | None, int | None], status: str
) -> None:
    """Runs without control groups too: the kill count before and after decides."""
    told = iter(counts)
    monkeypatch.setattr(oom_kills, "kernel_oom_kills", lambda: next(told))
    monkeypatch.setattr(oom_kills, "groups", lambda *_: [])
    run(tmp_path, plan(["killed"]))
    assert record(tmp_path, "killed").status == status


def test_the_count_is_read() -> None:
    text = Path("/proc/vmstat")
    told = re.search(r"^oom_kill (\d+)$", text.read_text("utf-8"), re.MULTILINE) if text.is_file() else None
    count = kernel_oom_kills()
    assert (count is None) == (told is None)
    assert told is None or int(told[1]) <= (count or 0)


@pytest.mark.parametrize(
    ("membership", "folder", "counter"),
    [
        ("0::/job_7/step", "job_7/step", "memory.events"),
        ("5:cpu,cpuacct:/x\n4:memory:/slurm/job_7", "memory/slurm/job_7", "memory.oom_control"),
        # in a container the path is that of the host, and the root is the group itself
        ("4:memory:/docker/abc", "memory", "memory.oom_control"),
    ],
)
def test_kills_are_counted_in_the_group_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, membership: str, folder: str, counter: str
) -> None:
    monkeypatch.setattr(oom_kills, "membership", lambda process: membership)
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / counter).write_text("oom 1\noom_kill 3\n")
    other = tmp_path / folder / "other"
    other.mkdir()
    (other / counter).write_text("oom_kill 0\n")
    kills = OomKills(tmp_path)
    (other / counter).write_text("oom_kill 9\n")
    assert not kills.have_grown(), "another job's kills are none of ours"
    (tmp_path / folder / counter).write_text("oom 2\noom_kill 4\n")
    assert kills.have_grown()
