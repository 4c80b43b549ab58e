"""What several verbs have in common: options, completion of names, printing."""

from __future__ import annotations

import json
import re
import shutil
from typing import Any

import click
from click.shell_completion import CompletionItem

from harness.errors import HarnessError


def _with_sources(ctx: click.Context, param: click.Parameter, files: tuple[str, ...]) -> tuple[str, ...]:
    """The data sources in the files can be named from here on."""
    if files:
        from harness.data.registry import add_adapters

        add_adapters(files)
    return files


adapters = click.option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="FILE.py",
    type=click.Path(),
    callback=_with_sources,
    help="A file that adds a method or a data source and lies outside methods/; may be given again.",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def print_json(value: Any) -> None:
    """Indented JSON on standard output; NaN as null."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def complete_methods(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of methods, also behind a comma or a plus."""
    from harness.catalog import find

    cut = max(incomplete.rfind(","), incomplete.rfind("+")) + 1
    head, tail = incomplete[:cut], incomplete[cut:]
    names = ["all", *(method.name for method in find())]
    return [CompletionItem(head + name) for name in names if name.startswith(tail)]


def complete_presets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the presets that come with the harness."""
    from harness.config.preset import names

    return [CompletionItem(name) for name in names() if name.startswith(incomplete)]


def device_of(text: str) -> str:
    """What --device names: "cpu" or "cuda[:N]". Raises HarnessError where it is mistyped or not there.

    `auto` asks torch, which takes seconds to load, only where the machine has an NVIDIA driver.
    """
    if text == "cpu" or (text == "auto" and shutil.which("nvidia-smi") is None):
        return "cpu"
    if text != "auto" and not re.fullmatch(r"cuda(:\d+)?", text):
        raise HarnessError(f"--device {text!r}: type auto, cpu, cuda or cuda:1")
    from harness.training.device import validate_device

    if text == "auto":
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"
    return validate_device(text)
