"""The kinds of data source there are, and which of them a typed source names.

Kinds are looked for in three places, as methods are: the modules of `harness/data/readers/`, the modules named under
the entry-point group "harness.data", and the files a user gives with `--adapter`. A module holds SOURCE, or several as
SOURCES (see harness.data.source.DataSource). A module that cannot be imported does not keep the others from being used.
"""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from harness.catalog import Broken, import_plugin, module_of_file
from harness.data import readers
from harness.data.source import DataSource, Source
from harness.errors import HarnessError, nearest, one_line

GROUP = "harness.data"

ADAPTERS = "HARNESS_SOURCE_MODULES"
"""Environment variable: modules of the user's files that hold sources, for the processes that train."""


def add_adapters(adapters: Sequence[str | Path]) -> None:
    """Use the sources in files of the user, here and in processes started from here. Files without any are left."""
    for adapter in adapters:
        name = module_of_file(Path(adapter))
        module = import_plugin(name, str(adapter))
        known = _adapter_modules()
        if not isinstance(module, Broken) and _sources_of(module) and name not in known:
            os.environ[ADAPTERS] = os.pathsep.join([*known, name])


def find_sources() -> tuple[dict[str, DataSource], list[Broken]]:
    """Every kind by name, in the order of finding, and the modules that could not be read.

    Raises:
        HarnessError: where two modules hold a source of the same name.
    """
    found: dict[str, DataSource] = {}
    origins: dict[str, str] = {}
    broken: list[Broken] = []
    for name, origin in dict(_modules()).items():
        module = import_plugin(name, origin)
        if isinstance(module, Broken):
            broken.append(module)
            continue
        sources = _sources_of(module)
        if not sources or not all(isinstance(source, DataSource) for source in sources):
            broken.append(Broken(name, origin, "holds no harness.data.DataSource as SOURCE or SOURCES"))
            continue
        for source in sources:
            if source.name in found:
                raise HarnessError(f"data source {source.name!r} is in {origins[source.name]} and in {origin}")
            found[source.name], origins[source.name] = source, origin
    return found, broken


def open_source(text: str) -> Source:
    """The source that was typed, nothing read yet. Raises HarnessError where it is mistyped or not there."""
    kind, _, arguments = text.partition(":")
    sources, broken = find_sources()
    if kind in sources:
        return sources[kind].open(arguments)
    for one in broken:
        names = (one.module.rpartition(".")[2], one.origin.partition(" = ")[0].removeprefix("entry point "))
        if kind and kind in names:
            raise HarnessError(f"data source {kind!r} cannot be read: {one.origin}: {one_line(one.error)}")
    known = ", ".join(source.usage for source in sources.values())
    if os.path.isdir(text):
        guessed = " or ".join(one_line(guess, 500) for guess in guesses(Path(text), sources))
        hint = f"like {guessed}: type that" if guessed else f"like no kind that is known; write one of: {known}"
        raise HarnessError(f"{one_line(text)} is a folder and names no kind of data; it looks {hint}")
    raise HarnessError(f"unknown data source {one_line(text)!r}{nearest(kind, sources)}; write one of: {known}")


def published_parts(text: str) -> Mapping[str, str]:
    """The sources of the split that the data were published with, by part; empty where there is none."""
    kind, _, arguments = text.partition(":")
    source = find_sources()[0].get(kind)
    return source.parts(arguments) if source else {}


def is_drawn(text: str) -> bool:
    """Whether the images of a typed source are drawn in code."""
    source = find_sources()[0].get(text.partition(":")[0])
    return source is not None and source.drawn


def guesses(folder: Path, sources: Mapping[str, DataSource]) -> list[str]:
    """What may be typed for a folder, by what each kind takes it for. Nothing is read but names and a few files."""
    found = []
    for source in sources.values():
        try:
            guess = source.guess(folder)
        except (HarnessError, OSError):  # too many files, a folder that cannot be listed
            continue
        found += [guess] if guess else []
    return found


def _modules() -> Iterator[tuple[str, str]]:
    """Module and origin of everything that may hold a source."""
    for module in pkgutil.iter_modules(readers.__path__):
        yield f"{readers.__name__}.{module.name}", f"{readers.__name__}.{module.name}"
    for point in metadata.entry_points(group=GROUP):
        yield point.value, f"entry point {point.name} = {point.value}"
    for name in _adapter_modules():
        yield name, f"{name}.py"


def _adapter_modules() -> list[str]:
    return [name for name in os.environ.get(ADAPTERS, "").split(os.pathsep) if name]


def _sources_of(module: object) -> list[DataSource]:
    sources = list(getattr(module, "SOURCES", ()))
    return [*sources, module.SOURCE] if hasattr(module, "SOURCE") else sources
