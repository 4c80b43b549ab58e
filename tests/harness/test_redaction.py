"""No record names the home folder, on any system."""

from __future__ import annotations

import json
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

import pytest

from harness.redaction import redact_home, redact_home_in_json

HOMES = {
    "linux": (PurePosixPath("/home/ada"), "/home/ada/cells", "~/cells"),
    "macos": (PurePosixPath("/Users/ada"), "see /Users/ada.", "see /Users/ada."),
    "another": (PurePosixPath("/home/ada"), "/home/adalbert/cells", "/home/adalbert/cells"),
    "windows": (PureWindowsPath(r"C:\Users\Ada"), r"--data folder:C:\Users\Ada\cells", r"--data folder:~\cells"),
    "doubled": (PureWindowsPath(r"C:\Users\Ada"), r"'C:\\Users\\Ada\\cells'", r"'~\\cells'"),
    "slashes": (PureWindowsPath(r"C:\Users\Ada"), "c:/users/ada/cells", "~/cells"),
    "a drive": (PureWindowsPath("D:\\"), r"D:\cells", r"D:\cells"),
}


@pytest.mark.parametrize(("home", "text", "expected"), HOMES.values(), ids=HOMES)
def test_the_home_folder_is_a_tilde(home: PurePath, text: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: home)
    assert redact_home({"a": [text, 1]}) == {"a": [expected, 1]}
    as_text = json.dumps({"a": [text, 1]}, ensure_ascii=False)
    assert json.loads(redact_home_in_json(as_text)) == {"a": [expected, 1]}
