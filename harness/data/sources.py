"""From what a person types, "sartorius:DIR" for one, to a Dataset."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from harness.data.dataset import Dataset
from harness.data.registry import open_source
from harness.data.source import Loaded, Source
from harness.data.store.cache import cached, discard
from harness.data.store.pack import MemorySink, Pack, Packer, Sink, digest
from harness.errors import HarnessError
from harness.platform.processes import usable_cores

T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """What `data check` found: the first problems up to a limit, and what could be read beside them."""

    problems: tuple[str, ...]
    more: bool
    images: int
    cells: int
    notes: tuple[str, ...]


def load(source: str, *, skip_bad: bool = False, cache: bool = True) -> Dataset:
    """The data set that `source` names, checked as a whole; warm starts map the packed copy that the first one left.

    skip_bad: leave out what is bad and count it: a bad cell alone, a bad image with its cells.
    cache: keep and use a packed copy (see harness.data.store.cache).
    Raises HarnessError with one line, naming file and row, at the first thing that is wrong.
    """
    reader = open_source(source)
    location = reader.location
    name = [type(reader).__name__, [str(path) for path in location.paths] or source, skip_bad]

    def build(sink: Sink) -> Pack:
        return _pack(reader, sink, skip_bad)

    def rebuild() -> Pack:
        discard(name)
        return cached(name, [reader.version, reader.stamp()], build)[0]

    if not cache:
        return Dataset(build(MemorySink()), location.text, location.public, reader.unlabelled())
    pack, kept = cached(name, [reader.version, reader.stamp()], build)
    return Dataset(pack, location.text, location.public, reader.unlabelled(), rebuild if kept else None)


def check(source: str, limit: int = 100) -> Check:
    """Read all of a source and list what is wrong. Raises HarnessError only where the source is mistyped."""
    reader = open_source(source)
    problems: list[str] = []
    notes: tuple[str, ...] = ()
    conversions: Counter[str] = Counter()
    images = cells = 0
    try:
        index = reader.index()
        notes = index.notes
        problems += index.problems
        for loaded in in_order(index.entries):
            problems += loaded.problems
            conversions.update(loaded.notes)
            if loaded.sample is not None:
                images += 1
                cells += len(loaded.sample.instances)
            if len(problems) > limit:
                break
        if cells == 0 and not problems:
            problems.append(_no_cells(reader))
    except HarnessError as error:
        problems.append(str(error))
    return Check(tuple(problems[:limit]), len(problems) > limit, images, cells, notes + _told(conversions))


def _pack(reader: Source, sink: Sink, skip_bad: bool) -> Pack:
    index = reader.index()
    _judge(index.problems, skip_bad)
    packer = Packer(sink)
    conversions: Counter[str] = Counter()
    skipped, cells = len(index.problems), 0
    for loaded, sample_digest in in_order([partial(_load_and_digest, entry) for entry in index.entries]):
        _judge(loaded.problems, skip_bad)
        skipped += len(loaded.problems)
        conversions.update(loaded.notes)
        if loaded.sample is not None:
            packer.add(loaded.sample, sample_digest)
            cells += len(loaded.sample.instances)
    if cells == 0:
        raise HarnessError(_no_cells(reader))
    return packer.finish(index.classes, index.notes + _told(conversions), skipped)


def _load_and_digest(entry: Callable[[], Loaded]) -> tuple[Loaded, bytes]:
    loaded = entry()
    return loaded, b"" if loaded.sample is None else digest(loaded.sample)


def _judge(problems: tuple[str, ...], skip_bad: bool) -> None:
    if problems and not skip_bad:
        raise HarnessError(f"{problems[0]} (`data check` lists all that is wrong, --skip-bad leaves it out)")


def _no_cells(reader: Source) -> str:
    return f"{reader.location.public} has no annotated image: there is nothing to train on"


def _told(conversions: Counter[str]) -> tuple[str, ...]:
    return tuple(f"{what}: {count} image{'s' if count > 1 else ''}" for what, count in sorted(conversions.items()))


def in_order(calls: Sequence[Callable[[], T]]) -> Iterator[T]:
    """Each call's result, in order. Calls run ahead on all cores that this process may use; few results are held."""
    workers = max(1, min(8, usable_cores()))
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
