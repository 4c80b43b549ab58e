from __future__ import annotations

import os
from pathlib import Path

import pytest
from systems import link

from harness.data import files
from harness.data.files import FileFinder, files_below, inside, stamp_of_files
from harness.errors import HarnessError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"1")


def test_linked_folders_are_entered_once(tmp_path: Path) -> None:
    touch(tmp_path, "data/a.png", "elsewhere/b.png")
    link(tmp_path / "data" / "linked", tmp_path / "elsewhere")
    link(tmp_path / "elsewhere" / "back", tmp_path / "data")
    found = [path.relative_to(tmp_path / "data").as_posix() for path in files_below(tmp_path / "data")]
    assert found == ["a.png", "linked/b.png"]


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILES", 3)
    touch(tmp_path, "a", "b", "c")
    assert len(files_below(tmp_path)) == 3
    touch(tmp_path, "d")
    with pytest.raises(HarnessError, match="name the folder that holds the images"):
        files_below(tmp_path)


def test_an_edit_that_keeps_size_and_time_changes_the_stamp(tmp_path: Path) -> None:
    touch(tmp_path, "a")
    facts = (tmp_path / "a").stat()
    before = stamp_of_files(tmp_path)
    assert before == stamp_of_files(tmp_path)
    (tmp_path / "new").write_bytes(b"2")
    (tmp_path / "new").replace(tmp_path / "a")
    os.utime(tmp_path / "a", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert before != stamp_of_files(tmp_path)


@pytest.mark.parametrize(
    "name", ["", "a\0b", "../x", "a/../../x", "/etc/passwd", "C:\\x", "C:x", "..\\x", "\\\\host\\share\\x"]
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(HarnessError) as caught:
        inside(tmp_path, name)
    assert str(caught.value).isprintable()
    with pytest.raises(HarnessError):
        FileFinder(tmp_path).find(name)


def test_names_that_lead_out_once_their_percent_signs_are_undone_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "secret.png", "data/a.png")
    with pytest.raises(HarnessError, match="leads out"):
        FileFinder(tmp_path / "data").find("%2e%2e/secret.png")


def test_accents_and_case_do_not_count_in_the_last_resort(tmp_path: Path) -> None:
    touch(tmp_path, "sub/Zelle \u00e4.PNG")
    assert FileFinder(tmp_path).find("zelle a\u0308.png") == tmp_path / "sub" / "Zelle \u00e4.PNG"
    assert not FileFinder(tmp_path).find("none.png").is_file()
