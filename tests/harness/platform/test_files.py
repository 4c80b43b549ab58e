"""Opening untrusted files and replacing files, on any system."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from systems import link

from harness.platform import files


@pytest.fixture(params=["as this system has it", "without O_NOFOLLOW"])
def either_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "as this system has it":
        monkeypatch.delattr(os, "O_NOFOLLOW", raising=False)


@pytest.mark.usefixtures("either_system")
def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    link(tmp_path / "link", tmp_path / "file")
    for opens in (files.open_to_read, files.create_or_empty):
        with pytest.raises(OSError):  # noqa: PT011 - its words are the system's
            opens(tmp_path / "link")
    assert (tmp_path / "file").read_text("utf-8") == "kept"


@pytest.mark.usefixtures("either_system")
def test_a_plain_file_is_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a\n")
    with os.fdopen(files.open_to_read(tmp_path / "file"), "rb") as file:
        assert file.read() == b"a\n"
    with os.fdopen(files.create_or_empty(tmp_path / "file"), "wb") as file:
        file.write(b"b\n")
    assert (tmp_path / "file").read_bytes() == b"b\n"


def test_a_file_that_a_reader_holds_open_is_replaced_when_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, which refuses to replace an open file."""
    refusals = iter([PermissionError(), PermissionError(), None])
    replace = os.replace

    def refusing(source: Path, target: Path) -> None:
        if (refusal := next(refusals)) is not None:
            raise refusal
        replace(source, target)

    (tmp_path / "new").write_text("new")
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr("os.replace", refusing)
    files.replace(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text("utf-8") == "new"


@pytest.mark.parametrize("name", ["con", "con.png", "NUL", "Aux.tar.gz", "com1.txt", "LPT9", "prn .tif"])
def test_names_of_devices_are_known(name: str) -> None:
    assert files.is_reserved(name)


@pytest.mark.parametrize("name", ["cone.png", "con-1.png", "_con.png", "com10", "null", "a.con"])
def test_other_names_are_free(name: str) -> None:
    assert not files.is_reserved(name)


def test_whether_a_disk_tells_upper_from_lower_case(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert files.ignores_case(tmp_path) == (tmp_path / "A").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has a limit, unless it is lifted")
def test_only_windows_limits_paths() -> None:
    assert files.path_limit() is None
