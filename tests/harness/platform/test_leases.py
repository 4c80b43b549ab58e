"""A folder's lock holds between machines, and ends with the machine that held it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest

from harness.errors import HarnessError
from harness.platform import leases, locks
from harness.platform.leases import LEASE, LEASE_SECONDS, lease_age, release_lease, take_lease
from harness.platform.locks import folder_lock, trial_lock


@pytest.fixture
def on_machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes this process one of another machine from here on."""
    return lambda name: monkeypatch.setattr(leases, "_this_machine", lambda: name)


def grow_old(folder: Path, holder_has_died: bool = True) -> None:
    """The lease has not been renewed for too long. Nobody renews it any more where its holder has died."""
    if holder_has_died:
        leases._held.pop(folder / LEASE, None)
    past = (folder / LEASE).stat().st_mtime - LEASE_SECONDS - 1
    os.utime(folder / LEASE, (past, past))


def test_another_machine_cannot_take_what_is_held(tmp_path: Path, on_machine: Callable[[str], None]) -> None:
    mine = take_lease(tmp_path, alone_here=True)
    assert mine is not None
    on_machine("another")
    assert take_lease(tmp_path, alone_here=True) is None
    release_lease(tmp_path, mine)
    assert take_lease(tmp_path, alone_here=True) is not None


def test_the_lease_of_a_machine_that_has_died_ends(tmp_path: Path, on_machine: Callable[[str], None]) -> None:
    mine = take_lease(tmp_path, alone_here=True)
    grow_old(tmp_path)
    on_machine("another")
    theirs = take_lease(tmp_path, alone_here=True)
    assert theirs is not None
    assert mine is not None
    release_lease(tmp_path, mine)
    assert (tmp_path / LEASE).read_text("utf-8") == theirs, "whoever was taken for dead removes nobody's lease"


def test_what_a_killed_process_of_this_machine_left_ends_at_once(tmp_path: Path) -> None:
    assert take_lease(tmp_path, alone_here=True) is not None
    assert take_lease(tmp_path, alone_here=False) is None
    assert take_lease(tmp_path, alone_here=True) is not None


@pytest.mark.parametrize("turn", range(40))
def test_one_of_many_gets_a_lease_that_has_ended(tmp_path: Path, turn: int) -> None:
    take_lease(tmp_path, alone_here=True)
    grow_old(tmp_path)
    got: list[str | None] = []
    start = threading.Barrier(16)

    def take() -> None:
        start.wait()
        got.append(take_lease(tmp_path, alone_here=False))

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(lease is not None for lease in got) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [LEASE]


def test_who_saw_a_lease_end_too_late_does_not_remove_its_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process takes the ended lease between the look at it and its removal, and a third wants it too."""
    take_lease(tmp_path, alone_here=True)
    grow_old(tmp_path)
    successor: list[str | None] = []
    end = leases._end

    def end_late(path: Path, theirs: str) -> bool:
        monkeypatch.setattr(leases, "_end", end)
        successor.append(take_lease(tmp_path, alone_here=False))
        return end(path, theirs)

    monkeypatch.setattr(leases, "_end", end_late)
    assert take_lease(tmp_path, alone_here=False) is None
    assert (tmp_path / LEASE).read_text("utf-8") == successor[0]


def test_a_process_killed_while_it_removed_a_lease_holds_nobody_up_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_lease(tmp_path, alone_here=True)
    grow_old(tmp_path)
    with monkeypatch.context() as killed:
        killed.setattr(Path, "unlink", lambda self, missing_ok=False: None)
        leases._end(tmp_path / "elsewhere", (tmp_path / LEASE).read_text("utf-8"))
    assert take_lease(tmp_path, alone_here=False) is None
    for path in tmp_path.iterdir():
        past = path.stat().st_mtime - LEASE_SECONDS - 1
        os.utime(path, (past, past))
    assert take_lease(tmp_path, alone_here=False) is None, "this one removes what the killed process left"
    assert take_lease(tmp_path, alone_here=False) is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == [LEASE]


def test_a_held_lease_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_renewer", None)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.01)
    take_lease(tmp_path, alone_here=True)
    grow_old(tmp_path, holder_has_died=False)
    renewed = threading.Event()
    for _ in range(500):
        if lease_age(tmp_path) < LEASE_SECONDS:
            renewed.set()
            break
        renewed.wait(0.01)
    assert renewed.is_set()


def test_a_folder_without_a_lease_has_none_of_any_age(tmp_path: Path) -> None:
    assert lease_age(tmp_path) == float("inf")
    assert not list(tmp_path.iterdir())


def test_a_lock_is_seen_by_another_machine_whose_system_shows_it_none(
    tmp_path: Path, on_machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with trial_lock(tmp_path) as ours:
        assert ours
        on_machine("another")
        monkeypatch.setattr(locks, "_LOCK", ".lock-of-another-machine")
        with trial_lock(tmp_path) as theirs:
            assert not theirs
        monkeypatch.setattr(locks, "_FOLDER_SECONDS", 0.1)
        with pytest.raises(HarnessError, match="held by another run"), folder_lock(tmp_path):
            pass


@pytest.mark.parametrize("error", [OSError(errno.ENOSYS, "Function not implemented"), NotImplementedError("no flock")])
def test_a_disk_without_locks_has_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(self: Any, **_: Any) -> None:
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with trial_lock(tmp_path) as first, trial_lock(tmp_path) as second:
        assert (first, second) == (True, False)
    with trial_lock(tmp_path) as again:
        assert again
