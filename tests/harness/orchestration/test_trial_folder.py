from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_worker import plan
from fuzzing import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config.trial_spec import TrialSpec
from harness.errors import HarnessError
from harness.orchestration.trial_folder import LOG, PREVIOUS_LOG, existing_record, prepare_folder
from harness.platform.locks import trial_lock
from harness.results.io import RECORD, TRIAL, read_trial_spec, write_record
from harness.results.schema import RunRecord
from harness.training.checkpoint_files import newest_blob, save_blob

SPEC = plan(["healthy"]).trials[0].spec


def test_preparing_keeps_the_state_of_the_same_work_and_no_record(tmp_path: Path) -> None:
    prepare_folder(tmp_path, SPEC)
    save_blob(tmp_path, 5, b"state")
    write_record(tmp_path / RECORD, RunRecord.from_spec(SPEC, "interrupted"))
    (tmp_path / LOG).write_text("first")
    (tmp_path / ".x.0123abcd.tmp").touch()
    assert existing_record(tmp_path, SPEC.key) is not None
    assert existing_record(tmp_path, "another") is None
    prepare_folder(tmp_path, SPEC)
    assert newest_blob(tmp_path) == (5, b"state")
    assert existing_record(tmp_path, SPEC.key) is None
    assert (tmp_path / PREVIOUS_LOG).read_text("utf-8") == "first"
    assert not (tmp_path / ".x.0123abcd.tmp").exists()
    assert read_trial_spec(tmp_path) == SPEC


@pytest.mark.parametrize("change", [{"key": "another"}, {"micro_batches": 2}])
def test_preparing_for_other_work_starts_afresh(tmp_path: Path, change: dict[str, Any]) -> None:
    prepare_folder(tmp_path, SPEC)
    save_blob(tmp_path, 5, b"state")
    prepare_folder(tmp_path, SPEC.model_copy(update=change))
    assert newest_blob(tmp_path) is None


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    with trial_lock(tmp_path / "a") as first, trial_lock(tmp_path / "a") as second, trial_lock(tmp_path / "b") as other:
        assert (first, second, other) == (True, False, True)
    with trial_lock(tmp_path / "a") as again:
        assert again


def test_fuzzed_trial_files_are_read_or_refused(tmp_path: Path, figures: Any) -> None:
    tried, refused, path = 0, 0, tmp_path / TRIAL

    @settings(max_examples=examples(100), deadline=None)
    @given(data=st.data())
    def attack(data: st.DataObject) -> None:
        nonlocal tried, refused
        tried += 1
        raw = bytearray(json.dumps(SPEC.model_dump(mode="json")).encode())
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(raw)))
            raw[at : at + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20))
        path.write_bytes(raw)
        found = spec_or_line(path.parent)
        refused += isinstance(found, str)
        assert isinstance(found, TrialSpec) or "\n" not in found

    attack()
    figures("trial files", inputs=tried, refused=refused)


def spec_or_line(folder: Path) -> TrialSpec | str:
    try:
        return read_trial_spec(folder)
    except HarnessError as error:
        return str(error)
