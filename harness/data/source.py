"""What a data source gives: an index of images that can each be loaded alone, from any thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.contract import Sample
from harness.errors import HarnessError, one_line
from harness.redaction import public_path


@dataclass(frozen=True)
class Loaded:
    """One image, read.

    Attributes:
        sample: None where the image itself is bad.
        problems: One line each, naming file and row. A bad cell is left out of the sample, the others stay.
        notes: What was done to the image that the user should know, in words that can be counted over images.
        boxes: How many cells have a box of their own in the file, besides their mask.
        contradicted: How many of those boxes lie elsewhere than the mask.
        outside: How many outlines reach far out of the image.
        numbers_used_up: Whether a label image uses all numbers that its bits can hold.
        columns: What else the source knows of the image, such as its plate, by name: --group-by and --hold-out.
    """

    sample: Sample | None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    boxes: int = 0
    contradicted: int = 0
    outside: int = 0
    numbers_used_up: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceIndex:
    """All that is known before any image is opened.

    Attributes:
        classes: Names, in label order.
        entries: One function per image, in the order of their ids. Called from several threads, in any order.
        problems: As in Loaded, of rows without an entry.
        notes: What the user should be told once, whole sentences.
        causes: The likely cause of a doubt in this format, by kind ("pieces", "cover", ...; see harness.data.doubts).
    """

    classes: tuple[str, ...]
    entries: Sequence[Callable[[], Loaded]]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    causes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceLocation:
    """Where a source is.

    Attributes:
        text: As typed, to load it again.
        public: The same without private folders, for records and tables.
        paths: Absolute paths of the files and folders named.
        subset: Which part of what is there, for a source that has several.
    """

    text: str
    public: str
    paths: tuple[Path, ...] = ()
    subset: str = ""

    def folder(self, usage: str) -> Path:
        """The one folder that was named. Raises HarnessError, with `usage`, where it is a file."""
        folder = self.paths[0]
        if not folder.is_dir():
            raise HarnessError(f"{folder.name} is not a folder; write {usage}")
        return folder

    @staticmethod
    def of(usage: str, arguments: str) -> SourceLocation:
        """The paths in `arguments`, as many as `usage` names.

        Args:
            usage: How the source is typed, such as "coco:ANN.json,IMAGES_DIR".
            arguments: What the user typed after the colon. A path may hold a comma itself.

        Raises:
            HarnessError: where there are too few paths, or one does not exist.
        """
        kind, _, wanted = usage.partition(":")
        if not arguments:
            raise HarnessError(f"{kind!r} names no {'file' if wanted == 'FILE' else 'folder'}; write {usage}")
        typed = _split_paths(usage, arguments, wanted.count(",") + 1)
        paths = []
        for text in typed:
            path = _expanded(text)
            if not text or not _exists(path):
                raise HarnessError(f"{kind}: there is no {one_line(text)!r}; write {usage}")
            paths.append(path.resolve())
        public = ",".join(public_path(text) for text in typed)
        return SourceLocation(f"{kind}:{arguments}", f"{kind}:{public}", tuple(paths))


class Source(Protocol):
    """A location and how to read it."""

    @property
    def version(self) -> int:
        """Raised when the same files would give other samples than before."""
        ...

    @property
    def location(self) -> SourceLocation: ...

    def stamp(self) -> object:
        """JSON value that changes whenever the files may have changed. Reads no file's content."""
        ...

    def index(self) -> SourceIndex:
        """Raises HarnessError where nothing at all can be read."""
        ...

    def unlabelled(self) -> tuple[Path, ...]:
        """Images of the same kind without annotation.

        A source whose groups can be told by a file may have a method `group_of(path)` besides: the group of such an
        image, or None.
        """
        ...


@dataclass(frozen=True)
class DataSource:
    """A kind of data set: what `--data NAME:ARGUMENTS` opens. A module holds it as SOURCE, or several as SOURCES.

    Attributes:
        name: What stands before the colon.
        usage: How it is typed, such as "coco:ANN.json,IMAGES_DIR".
        help: What it is, in one line.
        open: From what stands after the colon to the source, nothing read yet. Raises HarnessError where that is
            mistyped or not there. SourceLocation.of does this for paths.
        guess: What to type for a folder that looks like this kind, or None; for `data check FOLDER`.
        parts: From what stands after the colon to the sources of the published split, by part; empty where there is
            none.
        drawn: Whether its images are drawn in code: it is no real data set.
    """

    name: str
    usage: str
    help: str
    open: Callable[[str], Source]
    guess: Callable[[Path], str | None] = lambda folder: None
    parts: Callable[[str], Mapping[str, str]] = lambda arguments: {}
    drawn: bool = False


def _split_paths(usage: str, arguments: str, wanted: int) -> list[str]:
    """As many paths as are wanted, split at the commas that leave paths that exist."""
    parts = arguments.split(",")
    if wanted == 1:
        return [arguments]
    if len(parts) < wanted:
        raise HarnessError(f"{one_line(arguments)!r} names one path, two are needed; write {usage}")
    splits = [[",".join(parts[:i]), ",".join(parts[i:])] for i in range(1, len(parts))]
    return next((split for split in splits if all(_exists(_expanded(path)) for path in split)), splits[-1])


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, a NUL in it
        return False


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise HarnessError(f"there is no home folder for {one_line(text)!r}") from error


def public_source(text: str) -> str:
    """A source as typed, fit for records: its paths as public_path writes them."""
    kind, colon, arguments = text.partition(":")
    return kind + colon + ",".join(map(public_path, arguments.split(",")))
