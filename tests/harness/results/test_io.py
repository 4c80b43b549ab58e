from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from fake_worker import DATA
from fuzzing import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from systems import link as make_link
from systems import needs_named_pipes

from harness.errors import HarnessError
from harness.evaluation.schema import PostprocessRule, Scores
from harness.results import io as records
from harness.results.io import checksum, read_json, read_record, read_records, write_record
from harness.results.schema import CurvePoint, RunRecord


def make(**fields: Any) -> RunRecord:
    plain: dict[str, Any] = {
        "key": "k",
        "status": "ok",
        "method": "mask_rcnn",
        "seed": 0,
        "preset": "quick",
        "budget": "90s",
        "command": "harness run",
        "data": DATA,
        "scores": Scores(scoring_version="1", iou_map=0.25, by_image={"a": 0.5}),
        "final_losses": {"loss_mask": 0.1},
        "log": "trials/a/log.txt",
    }
    return RunRecord(**{**plain, **fields})


def put(run_dir: Path, name: str, record: RunRecord) -> Path:
    path = run_dir / "trials" / name / "record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_record(path, record)
    return path


def edit(path: Path, **changes: Any) -> None:
    """Change fields and repair the checksum, as an attacker would."""
    plain = {**json.loads(path.read_text("utf-8")), **changes}
    plain["checksum"] = checksum(plain)
    path.write_text(json.dumps(plain))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    first, second = make(), make(key="l", seed=1)
    put(tmp_path, "a", first)
    put(tmp_path, "b", second)
    found, problems = read_records(tmp_path)
    assert problems == []
    assert [record.model_copy(update={"checksum": ""}) for record in found] == [first, second]


def test_what_is_not_finite_comes_back_as_nan(tmp_path: Path) -> None:
    curve = [CurvePoint(fraction=0.5, seconds=1, iteration=3, iou_map=math.nan)]
    scores = Scores(scoring_version="1", iou_map=math.nan, ap=math.nan, by_type={"astro": math.inf})
    path = put(tmp_path, "a", make(scores=scores, final_losses={"x": math.inf}, learning_curve=curve))
    assert "NaN" not in path.read_text("utf-8")
    record = read_record(path)
    assert record.scores is not None
    assert math.isnan(record.scores.iou_map)
    assert math.isnan(record.scores.by_type["astro"])
    assert record.scores.ap is None
    assert math.isnan(record.final_losses["x"])
    assert math.isnan(record.learning_curve[0].iou_map)


def test_no_home_path_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: PurePosixPath("/home/someone"))
    path = put(
        tmp_path, "a", make(command="run --data coco:/home/someone/a.json,/home/someone/b --out /home/someoneelse")
    )
    assert read_record(path).command == "run --data coco:~/a.json,~/b --out /home/someoneelse"


def test_the_good_ones_are_read_beside_the_bad(tmp_path: Path) -> None:
    put(tmp_path, "good", make())
    for name, content in {"cut": "{", "list": "[]", "null": "null", "nan": '{"schema_version": NaN}'}.items():
        path = tmp_path / "trials" / name / "record.json"
        path.parent.mkdir()
        path.write_text(content)
    (tmp_path / "trials" / "none").mkdir()
    (tmp_path / "trials" / "a file").touch()
    found, problems = read_records(tmp_path)
    assert len(found) == 1
    assert len(problems) == 4
    assert all(str(tmp_path) in line and "\n" not in line for line in problems)


def one_bit(path: Path) -> None:
    path.write_text(path.read_text("utf-8").replace("0.25", "0.75"))


def other_version(path: Path) -> None:
    edit(path, schema_version=99)


def unknown_field(path: Path) -> None:
    edit(path, surprise=1)


def outside_log(path: Path) -> None:
    edit(path, log="../../etc/passwd")


def absolute_log(path: Path) -> None:
    edit(path, log="/etc/passwd")


def deep(path: Path) -> None:
    path.write_text("[" * 200_000 + "]" * 200_000)


def long_number(path: Path) -> None:
    path.write_text('{"schema_version": ' + "9" * 100_000 + "}")


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    make_link(path, "elsewhere")


def device(path: Path) -> None:
    path.unlink()
    make_link(path, "/dev/zero")


BAD: dict[Callable[[Path], None], str] = {
    one_bit: "checksum",
    other_version: "version 99",
    unknown_field: "surprise",
    outside_log: "outside",
    absolute_log: "outside",
    deep: "not JSON",
    long_number: "not JSON",
    fifo: "not a plain file",
    folder: "cannot be read|not a plain file",
    link: "cannot be read",
    device: "cannot be read",
}


@pytest.mark.parametrize(
    "damage", [pytest.param(one, marks=needs_named_pipes if one is fifo else (), id=one.__name__) for one in BAD]
)
def test_each_damage_is_named(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = put(tmp_path, "a", make())
    damage(path)
    with pytest.raises(HarnessError, match=BAD[damage]):
        read_record(path)
    assert len(read_records(tmp_path)[1]) == 1


def test_too_large_a_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, "a", make())
    with path.open("r+b") as file:
        file.truncate(records.SIZE_LIMIT + 1)
    with pytest.raises(HarnessError, match="bytes"):
        read_record(path)


def test_a_folder_that_leads_outside_is_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "other", "a", make())
    (tmp_path / "run" / "trials").mkdir(parents=True)
    make_link(tmp_path / "run" / "trials" / "a", tmp_path / "other" / "trials" / "a")
    found, problems = read_records(tmp_path / "run")
    assert found == []
    assert "leads out" in problems[0]


def test_the_same_work_twice_counts_once(tmp_path: Path) -> None:
    put(tmp_path, "a", make())
    put(tmp_path, "copy of a", make())
    found, problems = read_records(tmp_path)
    assert len(found) == 1
    assert "same work" in problems[0]


def test_what_records_have_in_common_is_held_once(tmp_path: Path) -> None:
    for seed in (0, 1):
        put(tmp_path, f"a--seed{seed}", make(key=f"key{seed}", seed=seed, settings={"flag": bool(seed), "number": 1}))
    (first, second), problems = read_records(tmp_path)
    assert problems == []
    assert first.machine is second.machine
    assert first.data is second.data
    assert (first.settings["flag"], second.settings["flag"]) == (False, True)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no folder"):
        read_records(tmp_path / "none")
    assert read_records(tmp_path) == ([], [])


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return put(tmp_path_factory.mktemp("run"), "a", make()).read_bytes()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)


EXAMPLES = examples(100)
fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_fuzzed_bytes_are_refused_in_one_line(raw: bytes, figures: Any) -> None:
    """No mutation of the bytes passes the checksum with other content, and none raises another error."""
    tried = refused = 0

    @fuzz
    @given(data=st.data())
    def attack(data: st.DataObject) -> None:
        nonlocal tried, refused
        tried += 1
        mutated = bytearray(raw)
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(mutated)))
            mutated[at : at + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20))
        found = read_bytes(bytes(mutated))
        if isinstance(found, RunRecord):
            assert json.loads(mutated) == json.loads(raw)
        else:
            refused += 1
            assert "\n" not in found

    attack()
    figures("records", inputs=tried, refused=refused)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, raw: bytes, number: str) -> None:
    text = json.dumps({**json.loads(raw), "wall_seconds": 0.125}).replace("0.125", number)
    refused = read_bytes(text.encode())
    assert isinstance(refused, str)
    assert "not JSON" in refused or "not a record" in refused
    (tmp_path / "any.json").write_text(f"[{number}]")
    with pytest.raises(HarnessError, match="not JSON"):
        read_json(tmp_path / "any.json")


def test_fuzzed_fields_with_a_right_checksum(raw: bytes, figures: Any) -> None:
    """A stranger's record that passes the checksum is either a record or refused in one line."""
    tried = refused = 0

    @fuzz
    @given(data=st.data())
    def attack(data: st.DataObject) -> None:
        nonlocal tried, refused
        tried += 1
        plain = json.loads(raw)
        for _ in range(data.draw(st.integers(1, 3))):
            plain[data.draw(st.sampled_from(sorted(plain)))] = data.draw(json_values)
        # values that are not finite have no checksum; the old one stays
        with contextlib.suppress(ValueError):
            plain["checksum"] = checksum(plain)
        found = read_bytes(json.dumps(plain).encode())
        refused += isinstance(found, str)
        assert isinstance(found, RunRecord) or "\n" not in found

    attack()
    figures("records of a right checksum", inputs=tried, refused=refused)


def read_bytes(content: bytes) -> RunRecord | str:
    """The record, or the line that refuses it."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "record.json"
        path.write_bytes(content)
        try:
            return read_record(path)
        except HarnessError as error:
            return str(error)


def test_a_record_is_a_line_a_field_and_is_read_without_its_search(tmp_path: Path) -> None:
    rule = PostprocessRule(
        score_thresholds={"cell": 0.5},
        min_areas={"cell": 20},
        chosen_on='a, "search":[ of\n its own',
        search=[{"class": "cell", "threshold": 0.5}],
    )
    path = tmp_path / "trials" / "a--seed0" / "record.json"
    path.parent.mkdir(parents=True)
    written = write_record(path, make(rule=rule, reason='said "checksum":\n"x"'))
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(RunRecord.model_fields) + 2
    assert read_record(path) == written
    (found,), problems = read_records(tmp_path)
    assert problems == []
    assert found == written.model_copy(update={"rule": rule.model_copy(update={"search": []})})
    # as harnesses of before wrote it
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=1), encoding="utf-8")
    assert read_record(path) == written
    assert read_records(tmp_path) == ([found], [])
    path.write_text(path.read_text(encoding="utf-8").replace("20", "21"), encoding="utf-8")
    assert "its checksum is wrong" in read_records(tmp_path)[1][0]
