"""What a reader gives: a listing of images that can each be loaded alone, from any thread."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from harness.contract import Sample
from harness.errors import HarnessError

T = TypeVar("T")

MAX_PIXELS = 2**27
"""Most pixels an image may have, or claim to have: 11,585 x 11,585. Larger ones are to be cut into tiles."""


@dataclass(frozen=True)
class Loaded:
    """One image, read. sample: None where the image itself is bad.

    problems: one line each, naming file and row; a bad cell is left out of the sample, the others stay.
    notes: what was done to the image that the user should know, in words that can be counted.
    """

    sample: Sample | None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceIndex:
    """All that is known before any image is opened.

    entries: one function per image, in the order of their ids. problems: as in Loaded, of rows without an entry.
    notes: what the user should be told once.
    """

    classes: tuple[str, ...]
    entries: Sequence[Callable[[], Loaded]]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceLocation:
    """Where a source is. text: as typed. public: the same without folders that are nobody's business."""

    text: str
    public: str
    paths: tuple[Path, ...] = ()


class Source(Protocol):
    """A place and how to read it. version: raised when the same files would give other samples."""

    @property
    def version(self) -> int: ...

    @property
    def place(self) -> SourceLocation: ...

    def stamp(self) -> object:
        """JSON value that changes whenever the files may have changed. Reads no file's content."""
        ...

    def listing(self) -> SourceIndex:
        """Raises HarnessError where nothing at all can be read."""
        ...

    def unlabelled(self) -> tuple[Path, ...]:
        """Images of the same kind without annotation."""
        ...


def in_order(calls: Sequence[Callable[[], T]]) -> Iterator[T]:
    """Each call's result, in order, worked ahead on all cores this process may use.

    Only a few results are held at a time, however many calls there are.
    """
    workers = max(1, min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for call in calls:
                waiting.append(pool.submit(call))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def stamp_of_files(*paths: Path) -> list[list[object]]:
    """Name, size and time of change of each file, and of every file below each folder."""
    found: list[list[object]] = []
    for path in paths:
        names = [path] if path.is_file() else (Path(folder) / n for folder, _, files in os.walk(path) for n in files)
        for name in names:
            try:
                facts = name.stat()
            except OSError:
                continue  # a dangling link is told of when it is read
            found.append([str(name), facts.st_size, facts.st_mtime_ns])
            if len(found) > 1_000_000:
                raise HarnessError(
                    f"more than a million files under {path.name}: name the folder that holds the images"
                )
    return sorted(found, key=lambda row: str(row[0]))


def inside(folder: Path, name: str) -> Path:
    """The file of that name below a folder. Raises HarnessError where `..` or a link in the name leads out of it."""
    if "\0" in name or not name:
        raise HarnessError(f"not a file name: {name!r}")
    try:
        root, path = folder.resolve(), (folder / name).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise HarnessError(f"not a file name: {one_line(name)!r}") from error
    if not path.is_relative_to(root):
        raise HarnessError(f"{one_line(name)} leads out of the folder {folder.name}")
    return path


def one_line(text: object, limit: int = 200) -> str:
    """Printable text of one line, for use in messages: data sets of strangers name files and classes as they like."""
    flat = "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."
