"""`python -m harness plan`: the preset that is fitted to a data set, as a file."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.options import adapters, choose_device, set_option
from harness.cli.split_options import split_options


@click.command(context_settings={"show_default": True})
@click.argument("source", metavar="SOURCE")
@split_options
@set_option
@click.option("--device", default="auto", metavar="auto|cpu|cuda[:N]|mps", help="Where it is to be used.")
@click.option("--skip-bad", is_flag=True, help="Leave bad images and cells out, and count them.")
@click.option("--trust-labels", is_flag=True, help="Take labels that look wrong (`data check` says why).")
@adapters
def plan(source: str, **typed: Any) -> None:
    """Print the preset that `run --preset auto` derives from the training images of a data set, with its reasons.

    Keep it as a file, edit it, and run it: plan SOURCE > my.toml, then run --preset my.toml --data SOURCE.
    """
    from harness.config.preset_file import preset_text
    from harness.orchestration.plan_from_data import read_source
    from harness.orchestration.request import RunRequest

    typed["device"], _ = choose_device(typed["device"])
    request = RunRequest(sources=(source,), **typed)
    preset = request.base_preset()
    data, _ = read_source(
        source,
        request.split_spec(),
        preset,
        request.skip_bad,
        request.trust_labels,
        lambda note: click.echo(f"note: {note}", err=True),
    )
    fit = request.fit_preset(preset, data, data.facts) or preset
    described = fit.model_copy(update={"description": f"Fitted to {data.facts.source}.", "source": data.dataset.source})
    click.echo(preset_text(described, "\n".join(fit.fit)), nl=False)
