"""`python -m harness new-method`: writes a file that adds a method."""

from __future__ import annotations

import keyword
import re
from importlib import resources
from pathlib import Path

import click

from harness.contract import SLOTS
from harness.errors import HarnessError

PLACEHOLDER = "my_method"


@click.command("new-method")
@click.argument("name")
@click.option("--slot", required=True, type=click.Choice(["engine", *SLOTS]), help="What the method changes.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Where to.  [default: the package methods/]")
def new_method(name: str, slot: str, folder: Path | None) -> None:
    """Write NAME.py, a working method that changes one slot or has an engine of its own.

    The file holds a card to fill in, code that runs, and comments on the contract.
    """
    from harness.catalog import load_catalog

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise HarnessError(f"{name!r} cannot name a method: type small letters, digits and _, as in {PLACEHOLDER}")
    catalog = load_catalog()
    if name in catalog.entries:
        raise HarnessError(f"the method {name!r} exists already, in {catalog.origin(name)}; type another name")
    home = Path(str(resources.files("methods")))
    target = (folder or home) / f"{name}.py"
    text = resources.files("methods._templates").joinpath(f"{slot}.py").read_text(encoding="utf-8")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(text.replace(PLACEHOLDER, name))
    except FileExistsError as error:
        raise HarnessError(f"{target} exists already and is not overwritten; type another name") from error
    except OSError as error:
        raise HarnessError(f"cannot write {target}: {error.strerror}") from error
    inside = target.parent.resolve() == home.resolve()
    adapter = "" if inside else f" --adapter {target}"
    click.echo(f"wrote {target}; next:")
    click.echo(f"  python -m harness check-method {name if inside else target}")
    click.echo(f"  python -m harness run --methods mask_rcnn,{name} --preset smoke{adapter}")
