"""Names and states of files below a data folder."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from harness.data.images import SUFFIXES
from harness.errors import HarnessError, one_line

NO_DATA = ("__MACOSX", "@eaDir", "$RECYCLE.BIN")
"""Folders that operating systems leave; so are hidden ones, such as .ipynb_checkpoints."""

UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the names of uploaded files."""

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
    """Every file below a folder, sorted. Hidden folders and NO_DATA are not entered.

    Linked folders are entered, each folder once: links may form a circle.

    Raises:
        HarnessError: where there are more than MAX_FILES.
    """
    found: list[str] = []
    entered: set[tuple[int, int]] = set()
    for parent, below, names in os.walk(folder, followlinks=True):
        try:
            facts = os.stat(parent)
        except OSError:  # removed meanwhile
            continue
        if (facts.st_dev, facts.st_ino) in entered:
            below.clear()
            continue
        entered.add((facts.st_dev, facts.st_ino))
        below[:] = [name for name in below if not name.startswith(".") and name not in NO_DATA]
        found += (os.path.join(parent, name) for name in names)
        if len(found) > MAX_FILES:
            raise HarnessError(
                f"more than {MAX_FILES:,} files under {folder.name}: name the folder that holds the images"
            )
    return [Path(name) for name in sorted(found)]


class FileFinder:
    """Finds the files that an annotation file names, however the tool that wrote it saw the folders.

    A name is taken as it is, with backslashes or %20 undone, and without its leading folders. Otherwise its last part
    is looked for anywhere below the folder: as it is, without the eight digits that Label Studio puts before a name,
    and last with the ending of another image format. Such a file is taken where there is only one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._below: dict[str, list[Path]] | None = None

    def find(self, name: str) -> Path:
        """The file of that name; one that does not exist where none is found.

        Raises:
            HarnessError: where the name leads out of the folder, or several files have its last part.
        """
        named = inside(self._folder, name)
        if named.is_file():
            return named
        parts = [unquote(part) for part in PureWindowsPath(name.strip()).parts]
        for start in range(len(parts)):
            path = inside(self._folder, "/".join(parts[start:]))
            if path.is_file():
                return path
        if self._below is None:
            self._below = {}
            for path in files_below(self._folder):
                self._below.setdefault(normalised(path.name), []).append(path)
                if path.suffix.lower() in SUFFIXES:
                    self._below.setdefault(_any_image(path.name), []).append(path)
        plain = UPLOADED.sub("", parts[-1])
        for wanted in (normalised(parts[-1]), normalised(plain), _any_image(parts[-1]), _any_image(plain)):
            found = self._below.get(wanted, [])
            if len(found) > 1:
                raise HarnessError(
                    f"{one_line(name)} is not there, and {len(found)} files below {self._folder.name} may be meant"
                )
            if found:
                return found[0]
        return named


def _any_image(name: str) -> str:
    """A key for all images of that name, whatever their ending. No file has it as its name."""
    return normalised(name[: -len(PurePosixPath(name).suffix)] if PurePosixPath(name).suffix else name) + "/"


def normalised(name: str) -> str:
    """For comparing names: accents composed, lower case."""
    return unicodedata.normalize("NFC", name).casefold()


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
