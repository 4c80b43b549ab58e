"""Several trials side by side on this machine."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_worker import WORKER, RecordingReporter, doubled, plan, rows, run

from harness.errors import HarnessError, StorageError
from harness.orchestration.engines import local
from harness.orchestration.engines.local import placements, visible_gpus
from harness.orchestration.scheduler import ALL_OK, INTERRUPTED, SOME_FAILED
from harness.results.comparability import time_differences
from harness.results.io import read_record, read_records


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def quiet_rows(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("quiet")
    assert run(folder, plan(["healthy"], 4)) == ALL_OK
    return rows(folder)


def test_rows_are_those_of_one_after_the_other_and_a_failure_harms_no_neighbour(
    tmp_path: Path, quiet_rows: list[str]
) -> None:
    healthy, bad = plan(["healthy"], 4), plan(["segfaults"])
    manifest = healthy.model_copy(update={"trials": (*healthy.trials[:2], *bad.trials, *healthy.trials[2:])})
    reporter = RecordingReporter()
    assert run(tmp_path, manifest, reporter, jobs=2) == SOME_FAILED
    assert [row for row in rows(tmp_path) if "healthy" in row] == quiet_rows
    assert doubled(tmp_path) == 0
    told = [event for event in reporter.events if event[0] in ("started", "ended")]
    assert [what for what, _ in told[:2]] == ["started", "started"], "two begin before one ends"
    records, _ = read_records(tmp_path)
    assert {record.machine["sharing"]["trials"] for record in records} == {2}
    assert all("2 trials ran side by side on this machine" in record.cost.notes[0] for record in records)
    assert time_differences(records) == [[]] * 5


def test_times_of_trials_that_shared_a_machine_are_compared_with_their_like_only(
    tmp_path: Path, quiet_rows: list[str]
) -> None:
    run(tmp_path, plan(["healthy"], 1))
    alone = read_record(tmp_path / "trials" / "healthy--seed0" / "record.json")
    sharing = placements(2, [0, 1], [])[0].facts()
    beside = alone.model_copy(update={"machine": {**alone.machine, **sharing}})
    assert time_differences([beside, beside, alone]) == [[], [], ["sharing"]]


@pytest.mark.skipif(sys.platform == "win32", reason="a process that Windows is asked to end does not hear of it")
def test_a_request_to_stop_reaches_every_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_FAKE_PAUSE", "0.05")
    monkeypatch.setenv("HARNESS_FAKE_JOBS", "2")
    process = subprocess.Popen([*WORKER, "run", str(tmp_path), "healthy", "4"], start_new_session=True)
    checkpoints = [tmp_path / "trials" / f"healthy--seed{seed}" for seed in (0, 1)]
    end = time.monotonic() + 60
    while not all(list(folder.glob("state-*.ckpt")) for folder in checkpoints):
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == INTERRUPTED
    assert {read_record(folder / "record.json").status for folder in checkpoints} == {"interrupted"}
    assert not (tmp_path / "trials" / "healthy--seed2").exists()

    monkeypatch.setenv("HARNESS_FAKE_PAUSE", "0.001")
    reporter = RecordingReporter()
    assert run(tmp_path, plan(["healthy"], 4), reporter, jobs=2) == ALL_OK
    assert all(read_record(folder / "record.json").reason == "" for folder in checkpoints)


def test_a_disk_that_takes_no_record_ends_the_run_after_the_others_have_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_FAKE_PAUSE", "0.05")
    real: Callable[..., Any] = local.bring_to_record

    def full(order: Any, *rest: Any) -> Any:
        if order.name.endswith("seed1"):
            end = time.monotonic() + 60
            while not list((tmp_path / "trials" / "healthy--seed0").glob("state-*.ckpt")):
                assert time.monotonic() < end
                time.sleep(0.02)
            raise StorageError("no space left")
        return real(order, *rest)

    monkeypatch.setattr(local, "bring_to_record", full)
    with pytest.raises(StorageError, match="no space left"):
        run(tmp_path, plan(["healthy"], 3), jobs=2)
    assert read_record(tmp_path / "trials" / "healthy--seed0" / "record.json").status == "interrupted"
    assert not (tmp_path / "trials" / "healthy--seed2").exists()


def test_each_slot_has_its_share_of_the_cores_and_a_gpu() -> None:
    first, second = placements(2, [0, 4, 1, 5, 2], ["2", "7"])
    assert (first.cores, second.cores) == ((0, 4), (1, 5, 2))
    assert (first.gpu, second.gpu, first.own_gpu, first.own_cores) == ("2", "7", True, True)
    assert first.environment()["CUDA_VISIBLE_DEVICES"] == "2"


def test_more_trials_than_cores_or_gpus_share_them() -> None:
    places = placements(3, [0, 1], ["0"])
    assert [place.cores for place in places] == [(0,), (0,), (1,)]
    assert not any(place.own_cores or place.own_gpu for place in places)
    assert places[0].notes() == ["up to 3 trials ran side by side on this machine, with no core of its own"]


def test_one_trial_at_a_time_is_run_as_ever() -> None:
    (place,) = placements(1, [0, 1], ["0"])
    assert (place.environment(), place.facts(), place.notes()) == ({}, {}, [])


def test_the_energy_of_packages_is_marked_where_they_are_shared() -> None:
    place = placements(2, [0, 1], [])[0]
    assert "energy" in place.notes("GPU and CPU packages")[0]
    assert "energy" not in place.notes("GPU")[0]


def test_the_gpus_of_this_process_are_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-1a")
    assert visible_gpus("cuda") == ["3", "GPU-1a"]
    assert visible_gpus("cpu") == []
    with pytest.raises(HarnessError, match="type --device cuda"):
        visible_gpus("cuda:1")
