"""`python -m harness pretrain`: trains networks on painted cells, for runs to start from."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import adapters, choose_device, complete_methods, complete_presets, set_option
from harness.errors import HarnessError
from harness.monitoring.progress import Progress, ProgressFile

if TYPE_CHECKING:
    from harness.catalog import Catalog
    from harness.config.preset import Preset
    from harness.orchestration.pretraining import Pretraining
    from harness.orchestration.request import RunRequest


@click.command(context_settings={"show_default": True})
@click.option(
    "--methods",
    default="all",
    metavar="LIST",
    shell_complete=complete_methods,
    help="Names and stacks; methods with the same network share its weights.",
)
@click.option("--budget", default="10m", metavar="AMOUNT", help="Training of each network: 90s, 10m, 2h, 1000it.")
@click.option("--preset", default="auto", metavar="NAME|FILE.toml", shell_complete=complete_presets, help="Sizes.")
@set_option
@click.option("--seed", default=0, type=click.IntRange(0), help="Of the painter and of the networks.")
@click.option("--device", default="auto", metavar="auto|cpu|cuda[:N]", help="Where to compute.")
@click.option("--without", default="", metavar="EFFECT+...", help="Kinds of image and effects that are not painted.")
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of the weights.  [default: the user's cache, where runs look for them]",
)
@adapters
def pretrain(methods: str, budget: str, without: str, out: Path | None, **typed: Any) -> None:
    """Train networks on painted cells, each under the same budget, for `run --init painted` to start from.

    Painted cells need no download and no annotation: every pixel follows from the seed. Weights go into the user's
    cache, with a card that says how they were made and how they score on held-out painted images. Stopped and typed
    again, the command continues. Networks that are there already are left as they are.
    """
    from harness.catalog import load_catalog
    from harness.config.budget import Budget
    from harness.data.readers.painted import parse
    from harness.orchestration.pretraining import networks
    from harness.orchestration.request import RunRequest
    from harness.stacks import split_methods

    Budget.parse(budget)
    left_out = parse(f"without={without}" if without else "").without
    device, note = choose_device(typed.pop("device"))
    request = RunRequest(device=device, **typed)
    catalog = load_catalog(request.adapters)
    how = {"budget": budget, "seed": request.seed, "device": device, "without": left_out, "folder": out}
    work = networks(catalog, split_methods(methods, catalog), request.base_preset(), _tell, **how)
    if note:
        _tell(note)
    command = shlex.join(["python", "-m", "harness", *sys.argv[1:]])
    for number, one in enumerate(work, start=1):
        _pretrain_one(one, f"{number} of {len(work)}: {one.method}", command)


def pretrain_missing(request: RunRequest, catalog: Catalog, preset: Preset) -> None:
    """Make the weights of the networks of a run that the user's cache does not have. Raises HarnessError."""
    from harness.config.budget import Budget
    from harness.orchestration.pretraining import networks
    from harness.stacks import split_methods
    from harness.training.painted_weights import find_painted

    Budget.parse(request.pretrain or "", name="--pretrain")
    if request.methods is None:
        raise HarnessError("--pretrain goes with --methods")
    how = {"budget": request.pretrain, "device": request.device, "precision": request.precision}
    work = networks(catalog, split_methods(request.methods, catalog), preset, _tell, **how)
    missing = [one for one in work if find_painted(one.network) is None]
    for number, one in enumerate(missing, start=1):
        _pretrain_one(one, f"{number} of {len(missing)}: {one.method}", request.command)


def _tell(note: str) -> None:
    click.echo(f"note: {note}", err=True)


def _pretrain_one(work: Pretraining, title: str, command: str) -> None:
    from harness.orchestration.pretraining import pretrain
    from harness.results.status import Interrupted

    if work.is_done():
        click.echo(f"{title}: there already, {work.path}", err=True)
        return
    progress = _Lines(title)
    before = None
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGINT, lambda *_: progress.request_stop())
    try:
        card = pretrain(work, command, progress)
    except Interrupted as stopped:
        raise HarnessError(f"{work.method}: {stopped}; type the same command to continue") from stopped
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
    click.echo(
        f"{title}: {card.iterations} steps, IoU {card.score:.3f} on held-out painted images; {work.path}", err=True
    )


class _Lines(ProgressFile):
    """Prints a line for each tenth of a training."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title, self._tenth = title, -1

    def report(self, progress: Progress) -> None:
        super().report(progress)
        tenth = int(10 * progress.fraction)
        if progress.phase == "training" and tenth > self._tenth:
            self._tenth = tenth
            loss = "" if progress.loss is None else f", loss {progress.loss:.3g}"
            click.echo(f"{self._title}: {progress.fraction:.0%}, step {progress.step}{loss}", err=True)
