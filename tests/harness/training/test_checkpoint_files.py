from __future__ import annotations

from pathlib import Path
from typing import Any

from fuzzing import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import link

from harness.training.checkpoint_files import newest_blob, remove_blobs, save_blob


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_and_the_one_before_are_kept(tmp_path: Path) -> None:
    assert newest_blob(tmp_path) is None
    for step in (1, 5, 9, 12):
        save_blob(tmp_path, step, b"x" * step)
    assert newest_blob(tmp_path) == (12, b"x" * 12)
    assert names(tmp_path) == ["state-000000009.ckpt", "state-000000012.ckpt"]
    remove_blobs(tmp_path)
    assert names(tmp_path) == []
    assert newest_blob(tmp_path / "none") is None


def test_a_damaged_one_is_passed_over_and_dropped_at_the_next(tmp_path: Path) -> None:
    save_blob(tmp_path, 10, b"good")
    path = save_blob(tmp_path, 20, b"damaged")
    path.write_bytes(path.read_bytes()[:-1])
    assert newest_blob(tmp_path) == (10, b"good")
    save_blob(tmp_path, 15, b"next")
    assert names(tmp_path) == ["state-000000010.ckpt", "state-000000015.ckpt"]


def test_the_same_step_twice(tmp_path: Path) -> None:
    save_blob(tmp_path, 10, b"a")
    save_blob(tmp_path, 20, b"b")
    save_blob(tmp_path, 20, b"c")
    assert newest_blob(tmp_path) == (20, b"c")
    assert len(names(tmp_path)) == 2


def test_links_and_renamed_states_are_not_read(tmp_path: Path) -> None:
    path = save_blob(tmp_path, 10, b"a")
    link(tmp_path / "state-000000011.ckpt", path)
    (tmp_path / "state-000000012.ckpt").write_bytes(path.read_bytes())
    assert newest_blob(tmp_path) == (10, b"a")


def test_no_mutation_is_taken_for_the_state(tmp_path: Path, figures: Any) -> None:
    tried = 0

    @settings(max_examples=examples(100))
    @given(content=st.binary(max_size=60), data=st.data())
    def attack(content: bytes, data: st.DataObject) -> None:
        nonlocal tried
        tried += 1
        path = save_blob(tmp_path, 7, content)
        raw = bytearray(path.read_bytes())
        kind = data.draw(st.sampled_from(["flip", "cut", "add", "replace"]))
        if kind == "flip":
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
        elif kind == "add":
            raw += data.draw(st.binary(min_size=1, max_size=9))
        else:
            raw = bytearray(data.draw(st.binary(max_size=300)))
        path.write_bytes(raw)
        assert newest_blob(tmp_path) is None

    attack()
    figures("states", inputs=tried, refused=tried)
