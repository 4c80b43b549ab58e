"""What several verbs have in common: options, completion of names, printing."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from harness.config.protocol import PROTOCOLS
from harness.errors import HarnessError
from harness.platform.processes import has_apple_gpu


def _with_sources(ctx: click.Context, param: click.Parameter, files: tuple[str, ...]) -> tuple[str, ...]:
    """The data sources in the files can be named from here on."""
    if files:
        from harness.data.registry import add_adapters

        add_adapters(files)
    return files


NVIDIA_DEVICES = (Path("/dev/nvidia0"), Path("/dev/dxg"))
"""A GPU of Linux, and that of Windows inside its Linux subsystem."""

adapters = click.option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="FILE.py",
    type=click.Path(),
    callback=_with_sources,
    help="A file that adds a method or a data source and lies outside methods/; may be given again.",
)

set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="TABLE.KEY=VALUE",
    help="One setting of the preset, as in model.scale=0.5; may be given again.",
)

protocol_option = click.option(
    "--protocol",
    default="",
    type=click.Choice(["", *PROTOCOLS]),
    show_default=False,
    metavar="[livecell]",
    help="Also score as a benchmark publishes it: one class, 2,000 detections, its areas, AFNR.",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def print_json(value: Any) -> None:
    """Print indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def complete_methods(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of methods, also after a comma or a plus."""
    from harness.catalog import load_catalog

    cut = max(incomplete.rfind(","), incomplete.rfind("+")) + 1
    head, tail = incomplete[:cut], incomplete[cut:]
    names = ["all", *(method.name for method in load_catalog())]
    return [CompletionItem(head + name) for name in names if name.startswith(tail)]


def complete_presets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the presets that come with the harness."""
    from harness.config.preset import preset_names

    return [CompletionItem(name) for name in preset_names() if name.startswith(incomplete)]


def choose_device(text: str) -> tuple[str, str]:
    """The device that --device names, and a line that says what `auto` has chosen; empty where it was named.

    torch, which takes seconds to load, is asked only where the machine has an NVIDIA GPU. `auto` never takes Apple's:
    no figure says that it would be quicker.

    Returns:
        "cpu", "mps" or "cuda[:N]", and the line.

    Raises:
        HarnessError: it is mistyped or not there.
    """
    if text == "cpu":
        return "cpu", ""
    if text != "auto":
        if not re.fullmatch(r"cuda(:\d+)?|mps", text):
            raise HarnessError(f"--device {text!r}: type auto, cpu, cuda, cuda:1 or mps")
        from harness.training.device import validate_device

        return validate_device(text), ""
    if not _has_nvidia_gpu():
        apple = "; --device mps takes Apple's, which nobody has measured here" if has_apple_gpu() else ""
        return "cpu", f"computing on the CPU: this machine has no NVIDIA GPU{apple}"
    import torch

    if torch.cuda.is_available():
        return "cuda", "computing on the GPU (--device cpu takes the CPU)"
    return "cpu", (
        f"computing on the CPU: this machine has an NVIDIA GPU, but torch {torch.__version__} cannot use it; "
        "`python -m harness doctor` says more"
    )


def _has_nvidia_gpu() -> bool:
    """Whether there are signs of one. Containers often have the device without nvidia-smi."""
    return shutil.which("nvidia-smi") is not None or any(path.exists() for path in NVIDIA_DEVICES)
