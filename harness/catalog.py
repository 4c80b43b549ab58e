"""Finds the methods. What a user types (`container+copy_paste`) is read by harness/stacks.py.

Methods are looked for in three places: the files and folders of `methods/` (not those whose names begin with _, nor the
folders that methods share), the modules named under the entry-point group "harness.methods", and the files a user gives
with `--adapter`. A module may hold

    METHOD = Method(...)            one method, or METHODS = (...) for several
    FAMILIES = {"timm": function}   `timm:<name>` is function("<name>") -> Method
    REQUIREMENTS = {"package": "the line that installs it"}, for `doctor`
    SOURCE = DataSource(...)        a data source (see harness/data/registry.py)

A module that cannot be imported is listed with its error. All other methods still run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module, metadata, util
from pathlib import Path
from types import ModuleType

from harness.contract import Method
from harness.errors import HarnessError, nearest

GROUP = "harness.methods"

BUILT_IN = "methods"
"""The package of the methods that come with the harness."""

Family = Callable[[str], Method]


class NameTakenError(HarnessError):
    """Two modules name the same method or family."""


@dataclass(frozen=True)
class Entry:
    """A method and where it was found: a file, or an entry point."""

    method: Method
    origin: str


@dataclass(frozen=True)
class Broken:
    """A module that could not be imported, and why."""

    module: str
    origin: str
    error: str


@dataclass
class Catalog:
    """All methods that were found.

    entries: by name, in the order in which they were found.
    families: by prefix: the function that makes a method of it, and where it was found.
    requirements: by package: the line that installs it.
    broken: modules that could not be imported.
    modules: names of all modules that were looked at.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    families: dict[str, tuple[Family, str]] = field(default_factory=dict)
    requirements: dict[str, str] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    modules: set[str] = field(default_factory=set)

    def __iter__(self) -> Iterator[Method]:
        return (entry.method for entry in self.entries.values())

    @property
    def baseline(self) -> Method:
        """The method that the others are changes to. Raises HarnessError unless there is exactly one."""
        found = [method for method in self if method.baseline]
        if len(found) != 1:
            names = ", ".join(method.name for method in found) or "none"
            raise HarnessError(f"one method must say baseline=True; those that do: {names}")
        return found[0]

    def defaults(self) -> list[str]:
        """The names of the methods that `all` stands for: without those that need a package that is missing."""
        return [method.name for method in self if method.default and not method.missing()]

    def method(self, name: str) -> Method:
        """The method of that name, or of a family. Raises HarnessError, with the nearest name."""
        if name in self.entries:
            return self.entries[name].method
        prefix, colon, rest = name.partition(":")
        if colon and prefix in self.families:
            return self.families[prefix][0](rest)
        for broken in self.broken:
            if broken.module.rpartition(".")[2] == name:
                raise HarnessError(f"method {name!r} cannot be read: {broken.origin}: {broken.error}")
        known = [*self.entries, *(f"{prefix}:" for prefix in self.families)]
        raise HarnessError(
            f"no method {name!r}{nearest(name, known)}; `python -m harness methods` lists what there is, "
            f"`python -m harness new-method NAME` adds one"
        )

    def origin(self, name: str) -> str:
        """Where the method of that name was found."""
        prefix = name.partition(":")[0]
        return self.entries[name].origin if name in self.entries else self.families[prefix][1]

    def add(self, module: ModuleType, origin: str) -> None:
        """Add the methods of a module. Raises HarnessError if a name is taken or an object is no Method."""
        found = list(getattr(module, "METHODS", ()))
        if hasattr(module, "METHOD"):
            found.append(module.METHOD)
        families = dict(getattr(module, "FAMILIES", {}))
        if not found and not families and not hasattr(module, "SOURCE") and not hasattr(module, "SOURCES"):
            raise HarnessError("holds neither METHOD, METHODS, FAMILIES nor a data source as SOURCE")
        for method in found:
            if not isinstance(method, Method):
                raise HarnessError(f"holds a {type(method).__name__} where a harness.contract.Method should be")
            if method.name in self.entries:
                raise NameTakenError(f"method {method.name!r} is in two files: {self.origin(method.name)} and {origin}")
            self.entries[method.name] = Entry(method, origin)
        for prefix, family in families.items():
            if prefix in self.families:
                raise NameTakenError(f"family {prefix!r} is in two files: {self.families[prefix][1]} and {origin}")
            self.families[prefix] = (family, origin)
        self.requirements.update(getattr(module, "REQUIREMENTS", {}))


def load_catalog(adapters: Sequence[str | Path] = ()) -> Catalog:
    """The catalogue of all methods.

    Args:
        adapters: Files of a user.

    Raises:
        HarnessError: a name is found twice, or an adapter cannot be imported.
    """
    import methods

    catalog = Catalog()
    for folder in methods.__path__:
        for path in sorted(Path(folder).iterdir()):
            file = path / "__init__.py" if path.is_dir() else path
            hidden = path.name.startswith("_") or path.stem in methods.SUPPORT
            if file.suffix == ".py" and file.is_file() and not hidden:
                _take(catalog, f"{BUILT_IN}.{path.stem}", str(file))
    for point in metadata.entry_points(group=GROUP):
        _take(catalog, point.value, f"entry point {point.name} = {point.value}")
    for adapter in adapters:
        name = module_of_file(Path(adapter))
        _take(catalog, name, str(adapter))
        if catalog.broken and catalog.broken[-1].origin == str(adapter):
            raise HarnessError(f"adapter {adapter}: {catalog.broken[-1].error}")
    return catalog


def _take(catalog: Catalog, module_name: str, origin: str) -> None:
    if module_name in catalog.modules:
        return
    catalog.modules.add(module_name)
    module = import_plugin(module_name, origin)
    if isinstance(module, Broken):
        catalog.broken.append(module)
        return
    try:
        catalog.add(module, origin)
    except NameTakenError:
        raise
    except HarnessError as error:
        catalog.broken.append(Broken(module_name, origin, str(error)))


def import_plugin(module_name: str, origin: str) -> ModuleType | Broken:
    """The module, or why it cannot be imported."""
    try:
        return import_module(module_name)
    except Exception as error:  # any error of another's module
        return Broken(module_name, origin, f"{type(error).__name__}: {error}")


def module_of_file(path: Path) -> str:
    """Make a file importable by its stem, in this process and in its child processes. Returns the stem.

    Its folder is appended to sys.path and to PYTHONPATH, so that the process that trains finds a part's factory written
    as f"{__name__}:build".
    """
    if not path.is_file():
        raise HarnessError(f"no adapter file {path}")
    path = path.resolve()
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise HarnessError(
            f"adapter {path.name} must be a Python file whose name can be imported, such as my_method.py"
        )
    import methods

    if path.parent in [Path(folder).resolve() for folder in methods.__path__]:
        return f"methods.{path.stem}"
    loaded = sys.modules.get(path.stem)
    spec = util.find_spec(path.stem) if loaded is None else loaded.__spec__
    # without an origin it is a folder of the same name, and the file is found first
    if spec is not None and spec.origin and Path(spec.origin).resolve() != path:
        raise HarnessError(f"adapter {path.name} has the name of a module that is installed; rename the file")
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    inherited = os.environ.get("PYTHONPATH", "")
    if folder not in inherited.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [inherited, folder]))
    return path.stem
