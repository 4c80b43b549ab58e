"""Names and states of files below a data folder."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from harness.errors import HarnessError, one_line

MAX_FILES = 1_000_000
"""Most files below a source. A folder with more is a mistake, such as a whole disk."""


def stamp_of_files(*paths: Path) -> list[list[object]]:
    """Name, size, times of change, and file number of each file, and of every file below each folder.

    The time of status change and the file number tell of an edit that kept size and time of modification, as
    copying tools and version control do.

    Raises:
        HarnessError: where there are more than MAX_FILES.
    """
    found: list[list[object]] = []
    for path in paths:
        for name in [path] if path.is_file() else files_below(path):
            try:
                facts = name.stat()
            except OSError:
                continue  # a broken link is reported when it is read
            found.append([str(name), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino])
    return sorted(found, key=lambda row: str(row[0]))


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder, sorted. Linked folders are not entered, so that a circle of links ends.

    Raises:
        HarnessError: where there are more than MAX_FILES.
    """
    found: list[str] = []
    for parent, _, names in os.walk(folder):
        found += (os.path.join(parent, name) for name in names)
        if len(found) > MAX_FILES:
            raise HarnessError(
                f"more than {MAX_FILES:,} files under {folder.name}: name the folder that holds the images"
            )
    return [Path(name) for name in sorted(found)]


def inside(folder: Path, name: str) -> Path:
    """The file of that name below a folder. Symbolic links are followed: whoever owns the folder placed them.

    Raises:
        HarnessError: where the name is absolute or has `..` in it, so that an annotation file cannot name files
            elsewhere.
    """
    if "\0" in name or not name:
        raise HarnessError(f"not a file name: {one_line(name)!r}")
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.is_absolute() or windows.drive or ".." in (*posix.parts, *windows.parts):
        raise HarnessError(f"{one_line(name)} leads out of the folder {folder.name}; give names within it")
    return folder / name
