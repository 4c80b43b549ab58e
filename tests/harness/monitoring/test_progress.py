from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.monitoring import progress as module
from harness.monitoring.progress import (
    PROGRESS,
    Progress,
    ProgressFile,
    ProgressReader,
    ask_to_stop,
    remove_progress,
)


def test_what_is_reported_is_read_once(tmp_path: Path) -> None:
    reader = ProgressReader(tmp_path)
    assert reader.newest() is None
    said = Progress("training", 7, 0.5, 1.25, 30.0, 12.0)
    ProgressFile(tmp_path).report(said)
    assert reader.newest() == said
    assert reader.newest() is None


def test_a_folder_that_is_gone_does_not_stop_the_worker(tmp_path: Path) -> None:
    file = ProgressFile(tmp_path / "gone")
    file.report(Progress("training"))
    assert not file.stop_requested()


def test_few_a_second_but_every_change_of_phase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    file, reader = ProgressFile(tmp_path), ProgressReader(tmp_path)
    seen = []
    for step in range(100):
        now += 0.01
        file.report(Progress("training", step))
        found = reader.newest()
        if found is not None:
            seen.append(found.step)
    assert seen == [0, 20, 40, 60, 80]
    file.report(Progress("evaluation", 100))
    found = reader.newest()
    assert found is not None
    assert found.phase == "evaluation"


def test_asked_to_stop_by_a_signal() -> None:
    file = ProgressFile()
    assert not file.stop_requested()
    file.request_stop()
    file.report(Progress("training"))
    assert file.stop_requested()


def test_asked_to_stop_by_the_file(tmp_path: Path) -> None:
    file = ProgressFile(tmp_path)
    assert not file.stop_requested()
    ask_to_stop(tmp_path)
    time.sleep(0.21)
    assert file.stop_requested()
    assert file.stop_requested(), "it stays so"
    remove_progress(tmp_path)
    assert not ProgressFile(tmp_path).stop_requested(), "the request was to another worker"


@given(content=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_is_passed_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / PROGRESS).write_bytes(content)
    assert ProgressReader(tmp_path).newest() is None


def test_a_number_that_is_none_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / PROGRESS).write_text('{"phase": "p", "step": 1, "fraction": "x"}')
    assert ProgressReader(tmp_path).newest() is None
