"""From what a person types, "sartorius:DIR" for one, to a Dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

from harness.data.dataset import Dataset
from harness.data.doubts.same_pictures import (
    LEAST_UNITS,
    NO_PICTURE,
    Picture,
    alike_pictures,
    count_units,
    joined_groups,
    notes_of_same_pictures,
    picture_of,
    roboflow_versions,
    same_pictures,
)
from harness.data.doubts.signs import Signs, signs_of
from harness.data.doubts.summary import Doubts
from harness.data.read_ahead import bytes_of, in_order
from harness.data.registry import find_sources, guesses, open_source
from harness.data.source import Loaded, Source, SourceIndex
from harness.data.store.cache import cached, discard
from harness.data.store.pack import MemorySink, Pack, Packer, Sink, digest
from harness.errors import HarnessError


@dataclass(frozen=True)
class Check:
    """What `data check` found: the first problems up to a limit, and what could be read beside them."""

    problems: tuple[str, ...]
    more: bool
    images: int
    cells: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Read:
    """One image, read and looked through.

    Attributes:
        digest: of all of it.
        picture: see harness.data.doubts.same_pictures.
    """

    loaded: Loaded
    digest: bytes = b""
    picture: Picture = NO_PICTURE
    signs: Signs = field(default_factory=lambda: Signs(0))

    def bytes_held(self) -> int:
        return 0 if self.loaded.sample is None else bytes_of(self.loaded.sample)


class _Findings:
    """What is told of a whole data set once all images are read."""

    def __init__(self, index: SourceIndex) -> None:
        self._index = index
        self._conversions: Counter[str] = Counter()
        self._doubts = Doubts(index.causes, index.classes)
        self._pictures: dict[str, Picture] = {}
        self._groups: dict[str, str | None] = {}
        self.cells = 0

    def add(self, read: _Read) -> None:
        self._conversions.update(read.loaded.notes)
        if read.loaded.sample is not None:
            image_id = read.loaded.sample.image_id
            self._doubts.add(image_id, read.signs)
            self._pictures[image_id] = read.picture
            self._groups[image_id] = read.loaded.sample.group
            self.cells += len(read.loaded.sample.instances)

    @property
    def images(self) -> int:
        return len(self._pictures)

    @cached_property
    def same_pictures(self) -> list[list[str]]:
        """Ids of images with the same pixels. This and the next are read once all images are added."""
        return same_pictures(list(self._pictures), self._pictures.values())

    @cached_property
    def alike_pictures(self) -> list[list[str]]:
        """Ids of images that show the same picture, saved anew."""
        return alike_pictures(list(self._pictures), self._pictures.values())

    @cached_property
    def versions(self) -> list[list[str]]:
        """Ids of images that were made of one picture, by their names."""
        return roboflow_versions(self._pictures)

    @cached_property
    def groups(self) -> dict[str, str | None]:
        """The group of each image, so that no split parts what shows the same picture, as far as that can be."""
        sure = self.same_pictures + self.versions
        joined = joined_groups(self._groups, sure + self.alike_pictures)
        return joined if count_units(joined) >= LEAST_UNITS else joined_groups(self._groups, sure)

    def notes(self) -> tuple[str, ...]:
        conversions = (f"{what}: {images(count)}" for what, count in sorted(self._conversions.items()))
        parted = any(len({self.groups[image_id] for image_id in ids}) > 1 for ids in self.alike_pictures)
        parted = parted or any(self.groups[ids[0]] is None for ids in self.alike_pictures)
        same = notes_of_same_pictures(self.same_pictures, self.alike_pictures, parted)
        made = sum(map(len, self.versions))
        made_of = (f"images that Roboflow made of one picture, kept on one side of a split: {made}",) if made else ()
        return (*self._index.notes, *conversions, *self._doubts.notes(), *same, *made_of)

    def doubts(self) -> tuple[str, ...]:
        return self._doubts.sentences()


def load(source: str, *, skip_bad: bool = False, cache: bool = True) -> Dataset:
    """The data set that `source` names, checked as a whole. Later calls map the packed copy that the first one left.

    Args:
        source: as typed, such as "sartorius:DIR".
        skip_bad: leave out what is bad and count it: a bad cell alone, a bad image with its cells.
        cache: keep and use a packed copy (see harness.data.store.cache).

    Raises:
        HarnessError: one line, naming file and row, at the first thing that is wrong.
    """
    reader = open_source(source)
    location = reader.location
    place = [str(path) for path in location.paths] or source
    name = [location.text.partition(":")[0], place, skip_bad, *([location.subset] if location.subset else [])]

    def build(sink: Sink) -> Pack:
        return _pack(reader, sink, skip_bad)

    def rebuild() -> Pack:
        discard(name)
        return cached(name, [reader.version, reader.stamp()], build)[0]

    if not cache:
        return Dataset(build(MemorySink()), location.text, location.public, reader.unlabelled())
    pack, kept = cached(name, [reader.version, reader.stamp()], build)
    return Dataset(pack, location.text, location.public, reader.unlabelled(), rebuild if kept else None)


def check(source: str, limit: int = 100, trust_labels: bool = False) -> Check:
    """Read all of a source and list what is wrong, doubts included.

    Args:
        source: as typed.
        limit: most problems listed.
        trust_labels: doubts (see harness.data.doubts) are notes, not problems.

    Raises:
        HarnessError: only where the source is mistyped.
    """
    reader = open_source(source)
    problems: list[str] = []
    try:
        index = reader.index()
    except HarnessError as error:
        return Check((str(error),), False, 0, 0, ())
    findings = _Findings(index)
    try:
        problems += index.problems
        for read in in_order([partial(_read, entry) for entry in index.entries], _Read.bytes_held):
            problems += read.loaded.problems
            findings.add(read)
            if len(problems) > limit:
                break
        if findings.cells == 0 and not problems:
            problems.append(_no_cells(reader))
    except HarnessError as error:
        problems.append(str(error))
    doubts, notes = findings.doubts(), findings.notes()
    problems, notes = (problems, notes + doubts) if trust_labels else ([*doubts, *problems], notes)
    return Check(tuple(problems[:limit]), len(problems) > limit, findings.images, findings.cells, notes)


def _pack(reader: Source, sink: Sink, skip_bad: bool) -> Pack:
    index = reader.index()
    _refuse_problems(index.problems, skip_bad)
    packer, findings = Packer(sink), _Findings(index)
    skipped = len(index.problems)
    for read in in_order([partial(_read, entry) for entry in index.entries], _Read.bytes_held):
        _refuse_problems(read.loaded.problems, skip_bad)
        skipped += len(read.loaded.problems)
        findings.add(read)
        if read.loaded.sample is not None:
            packer.add(read.loaded.sample, read.digest, read.loaded.columns)
    if findings.cells == 0:
        raise HarnessError(_no_cells(reader))
    packer.regroup(lambda groups: findings.groups)
    return packer.finish(index.classes, findings.notes(), skipped, findings.doubts())


def _read(entry: Callable[[], Loaded]) -> _Read:
    loaded = entry()
    sample = loaded.sample
    if sample is None:
        return _Read(loaded)
    signs = signs_of(sample, loaded.boxes, loaded.contradicted, loaded.outside, loaded.numbers_used_up)
    return _Read(loaded, digest(sample), picture_of(sample.image), signs)


def _refuse_problems(problems: tuple[str, ...], skip_bad: bool) -> None:
    if problems and not skip_bad:
        raise HarnessError(f"{problems[0]} (`data check` lists all that is wrong, --skip-bad leaves it out)")


def _no_cells(reader: Source) -> str:
    """What is wrong, and what to type for a folder of another kind."""
    location = reader.location
    others = guesses(location.paths[0], find_sources()[0]) if len(location.paths) == 1 else []
    hint = f"; the folder looks like {' or '.join(others)}" if others and location.text not in others else ""
    return f"{location.public} has no annotated image: there is nothing to train on{hint}"


def images(count: int) -> str:
    return f"{count} image{'s' if count > 1 else ''}"
