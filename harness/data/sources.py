"""From what a person types, "sartorius:DIR" for one, to a Dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.data.dataset import Dataset
from harness.data.source_index import Loaded, Source, SourceLocation, in_order, one_line
from harness.data.store.cache import cached, discard
from harness.data.store.pack import MemorySink, Pack, Packer, Sink, digest
from harness.errors import HarnessError, nearest

KINDS = {
    "synthetic": "synthetic[:images=60,size=256,...]",
    "sartorius": "sartorius:DIR",
    "coco": "coco:ANN.json,IMAGES_DIR",
    "folder": "folder:IMAGES_DIR,LABELS_DIR",
}
"""Kind of source, and how it is typed."""


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
    place = reader.place
    name = [type(reader).__name__, [str(path) for path in place.paths] or source, skip_bad]

    def build(sink: Sink) -> Pack:
        return _pack(reader, sink, skip_bad)

    def rebuild() -> Pack:
        discard(name)
        return cached(name, [reader.version, reader.stamp()], build)[0]

    if not cache:
        return Dataset(build(MemorySink()), place.text, place.public, reader.unlabelled())
    pack, kept = cached(name, [reader.version, reader.stamp()], build)
    return Dataset(pack, place.text, place.public, reader.unlabelled(), rebuild if kept else None)


def check(source: str, limit: int = 100) -> Check:
    """Read all of a source and list what is wrong. Raises HarnessError only where the source is mistyped."""
    reader = open_source(source)
    problems: list[str] = []
    notes: tuple[str, ...] = ()
    conversions: Counter[str] = Counter()
    images = cells = 0
    try:
        listing = reader.listing()
        notes = listing.notes
        problems += listing.problems
        for loaded in in_order(listing.entries):
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


def open_source(source: str) -> Source:
    """The reader of a source, nothing read yet. Raises HarnessError where the source is mistyped or not there."""
    kind, _, rest = source.partition(":")
    if kind == "synthetic":
        from harness.data.synthetic.source import Synthetic

        return Synthetic(SourceLocation(source, source), rest)
    if kind not in KINDS:
        known = ", ".join(KINDS.values())
        raise HarnessError(f"unknown data source {one_line(source)!r}{nearest(kind, KINDS)}; write one of: {known}")
    if not rest:
        raise HarnessError(f"{source!r} names no folder; write {KINDS[kind]}")
    if kind == "sartorius":
        from harness.data.readers.sartorius import Sartorius

        return Sartorius(_place(kind, [rest]))
    first, second = _two_paths(kind, rest)
    if kind == "coco":
        from harness.data.readers.coco import Coco

        return Coco(_place(kind, [first, second]))
    from harness.data.readers.label_folder import LabelFolder

    return LabelFolder(_place(kind, [first, second]))


def _two_paths(kind: str, rest: str) -> tuple[str, str]:
    """Split at the comma that leaves two paths that exist, for a path may hold a comma itself."""
    parts = rest.split(",")
    if len(parts) < 2:
        raise HarnessError(f"'{kind}:{one_line(rest)}' names one path, two are needed; write {KINDS[kind]}")
    splits = [(",".join(parts[:i]), ",".join(parts[i:])) for i in range(1, len(parts))]
    return next((s for s in splits if all(_is_there(_path(p)) for p in s)), splits[-1])


def _place(kind: str, typed: list[str]) -> SourceLocation:
    paths = []
    for text in typed:
        path = _path(text)
        if not text or not _is_there(path):
            raise HarnessError(f"{kind}: there is no {one_line(text)!r}; write {KINDS[kind]}")
        paths.append(path.resolve())
    return SourceLocation(
        f"{kind}:{','.join(typed)}", f"{kind}:{','.join(public_path(t) for t in typed)}", tuple(paths)
    )


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, a NUL in it
        return False


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise HarnessError(f"there is no home folder for {one_line(text)!r}") from error


def public_path(text: str) -> str:
    """A path fit for records: an absolute or ~ path cut to the last two parts below a home folder, others as typed."""
    path = Path(text)
    if path.is_absolute() and path.is_relative_to(Path.home()):
        below = path.relative_to(Path.home()).parts
    elif path.is_absolute():
        below = path.parts[3:] if path.parts[1:2] in (("home",), ("Users",)) else path.parts[1:]
    elif text.startswith("~"):
        below = path.parts[1:]
    else:
        return text
    return "/".join(("...", *below[-2:]))


def _pack(reader: Source, sink: Sink, skip_bad: bool) -> Pack:
    listing = reader.listing()
    _judge(listing.problems, skip_bad)
    packer = Packer(sink)
    conversions: Counter[str] = Counter()
    skipped, cells = len(listing.problems), 0
    for loaded, sample_digest in in_order([partial(_load_and_digest, entry) for entry in listing.entries]):
        _judge(loaded.problems, skip_bad)
        skipped += len(loaded.problems)
        conversions.update(loaded.notes)
        if loaded.sample is not None:
            packer.add(loaded.sample, sample_digest)
            cells += len(loaded.sample.instances)
    if cells == 0:
        raise HarnessError(_no_cells(reader))
    return packer.finish(listing.classes, listing.notes + _told(conversions), skipped)


def _load_and_digest(entry: Callable[[], Loaded]) -> tuple[Loaded, bytes]:
    loaded = entry()
    return loaded, b"" if loaded.sample is None else digest(loaded.sample)


def _judge(problems: tuple[str, ...], skip_bad: bool) -> None:
    if problems and not skip_bad:
        raise HarnessError(f"{problems[0]} (`data check` lists all that is wrong, --skip-bad leaves it out)")


def _no_cells(reader: Source) -> str:
    return f"{reader.place.public} has no annotated image: there is nothing to train on"


def _told(conversions: Counter[str]) -> tuple[str, ...]:
    return tuple(f"{what}: {count} image{'s' if count > 1 else ''}" for what, count in sorted(conversions.items()))
