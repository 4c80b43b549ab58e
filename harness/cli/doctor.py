"""`python -m harness doctor`: what this machine has, what is missing, and the line that installs it."""

from __future__ import annotations

import platform
import shutil
import sys
from importlib import metadata, util
from typing import TYPE_CHECKING

import click

from harness.catalog import Catalog, load_catalog
from harness.cli.options import adapters, as_json, print_json
from harness.errors import one_line
from harness.reporting.screen import print_table

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

DISTRIBUTION = "cell-segmentation-harness"


@click.command()
@adapters
@as_json
def doctor(adapters: tuple[str, ...], as_json: bool) -> None:
    """Say what this machine has and what is missing; exit status 1 where something needed is missing."""
    catalog = load_catalog(adapters)
    checks = [_python(), *_packages(catalog), *_torch(), _memory(), _disk(), *_methods(catalog)]
    missing = [check for check in checks if check["state"] == "missing"]
    if as_json:
        print_json({"ok": not missing, "checks": checks})
    else:
        print_table(("", "found", "state"), [(c["what"], c["found"], c["state"]) for c in checks])
        for check in (check for check in checks if check["remedy"]):
            click.echo(f"{check['what']}: {check['found']}\n    {check['remedy']}")
        if not missing:
            click.echo("nothing that every run needs is missing")
    if missing:
        raise click.exceptions.Exit(1)


def _check(what: str, found: str, remedy: str = "") -> dict[str, str]:
    return {"what": what, "found": found, "state": "missing" if remedy else "ok", "remedy": remedy}


def _python() -> dict[str, str]:
    old = sys.version_info < (3, 11)
    return _check(
        "Python", f"{platform.python_version()} on {platform.platform()}", "install Python 3.11" if old else ""
    )


def _packages(catalog: Catalog) -> list[dict[str, str]]:
    """The packages that the project's metadata and the methods require."""
    from packaging.requirements import Requirement

    try:
        needs = [Requirement(line) for line in metadata.requires(DISTRIBUTION) or []]
    except metadata.PackageNotFoundError:
        return [_check(DISTRIBUTION, "not installed", "python -m pip install -e .  (in the folder of the project)")]
    checks = []
    for need in needs:
        if need.marker is None or need.marker.evaluate({"extra": ""}):
            checks.append(_package(need.name, f"{need.name}{need.specifier}", need.specifier))
    for module, remedy in catalog.requirements.items():
        there = util.find_spec(module) is not None
        checks.append(_check(module, _version_of_module(module) if there else "not installed", "" if there else remedy))
    return checks


def _package(name: str, wanted: str, specifier: SpecifierSet) -> dict[str, str]:
    remedy = f'python -m pip install "{wanted}"'
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return _check(name, "not installed", remedy)
    fits = specifier.contains(version, prereleases=True)
    return _check(name, version, "" if fits else f"{remedy}  (needs {specifier})")


def _version_of_module(module: str) -> str:
    names = metadata.packages_distributions().get(module, [])
    return ", ".join(f"{name} {metadata.version(name)}" for name in names) or "installed"


def _torch() -> list[dict[str, str]]:
    """Whether torch and torchvision fit together, and which device `--device auto` takes."""
    pair = 'python -m pip install --upgrade --force-reinstall "torch>=2.11" "torchvision>=0.26"'
    try:
        import torch
    except OSError as error:  # a library that Windows does not find
        runtime = "install Microsoft's Visual C++ runtime: winget install Microsoft.VCRedist.2015+.x64"
        return [_check("torch loads", one_line(error), runtime)]
    except ImportError as error:
        return [_check("torch loads", str(error), pair)]
    try:
        from torchvision.ops import nms

        kept = nms(torch.tensor([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 9.0, 8.0]]), torch.tensor([0.9, 0.8]), 0.5)
        if kept.tolist() != [0]:
            raise RuntimeError(f"non-maximum suppression keeps {kept.tolist()}")
        checks = [_check("torchvision operators", "work")]
    except (ImportError, RuntimeError, AttributeError) as error:
        first = str(error).splitlines()[0]
        checks = [_check("torchvision operators", f"do not work with torch {torch.__version__}: {first}", pair)]
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(i)
            checks.append(_check(f"GPU {i}", f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"))
    else:
        apple = torch.backends.mps.is_available()
        found = (
            "Apple's, with --device mps; runs take the CPU" if apple else "none that torch can use; runs take the CPU"
        )
        checks.append(_check("GPU", found))
    return checks


def _memory() -> dict[str, str]:
    import psutil

    memory = psutil.virtual_memory()
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count()
    found = f"{cores} cores, {memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB memory free"
    return _check("CPU", found)


def _disk() -> dict[str, str]:
    free = shutil.disk_usage(".").free
    remedy = "free some space: a run of all methods writes about 1 GB" if free < 2**30 else ""
    return _check("disk", f"{free / 2**30:.1f} GiB free here", remedy)


def _methods(catalog: Catalog) -> list[dict[str, str]]:
    """Methods that cannot be imported (missing), and those that do not run on this machine (not counted as missing).

    Where only a package lacks, there is the line that installs it.
    """
    checks = [_check("method file", f"{b.origin}: {b.error}", "correct or remove that file") for b in catalog.broken]
    for method in catalog:
        for module, remedy in method.missing().items():
            found = f"does not run here: the package {module} is not installed"
            checks.append({**_check(f"method {method.name}", found), "state": "optional", "remedy": remedy})
        reason = method.skip() if method.skip else None
        if reason:
            checks.append(_check(f"method {method.name}", f"does not run here: {reason}"))
    return checks
