from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from fake_worker import FaultyOs

from harness.errors import StorageError, storage_error
from harness.fileio import (
    remove_temporaries,
    write_bytes_atomic,
    write_json_atomic,
    write_text_atomic,
)


def test_writes_what_it_is_given(tmp_path: Path) -> None:
    write_bytes_atomic(tmp_path / "a", b"one", memoryview(b"two"), bytearray(b""))
    write_text_atomic(tmp_path / "b", "größe\n")
    write_json_atomic(tmp_path / "c", {"x": [1, 2.5, None]})
    assert (tmp_path / "a").read_bytes() == b"onetwo"
    assert (tmp_path / "b").read_bytes() == "größe\n".encode()
    assert json.loads((tmp_path / "c").read_text("utf-8")) == {"x": [1, 2.5, None]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_json_that_is_not_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json_atomic(tmp_path / "a", float("nan"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["ENOSPC", "EIO", "EROFS"])
@pytest.mark.parametrize("operation", ["write", "fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, what: str
) -> None:
    path = tmp_path / "record.json"
    write_text_atomic(path, "old")
    FaultyOs(operation, 1, what).install(monkeypatch)
    with pytest.raises(StorageError) as caught:
        write_text_atomic(path, "new")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_text("utf-8") == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data[:7])))
    write_bytes_atomic(tmp_path / "a", b"0123456789" * 10)
    assert (tmp_path / "a").read_bytes() == b"0123456789" * 10


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone.a: its folder is gone"):
        write_text_atomic(tmp_path / "gone" / "a", "x")


def test_the_reason_of_a_full_disk() -> None:
    error = storage_error(Path("a"), OSError(errno.ENOSPC, "?"))
    assert "no space left on the disk" in str(error)


def test_only_temporaries_are_removed(tmp_path: Path) -> None:
    for name in (".a.json.0123abcd.tmp", "a.tmp", ".lock", "a.json"):
        (tmp_path / name).touch()
    remove_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "a.json", "a.tmp"]
