"""The command line: one small file per verb, imported when that verb is asked for and not before."""

from __future__ import annotations

import shlex
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from harness.errors import HarnessError, nearest
from harness.platform.console import print_any_character

VERBS = {
    "run": "Train and score methods under one budget; ends in a leaderboard.",
    "pretrain": "Train networks on painted cells, for runs to start from.",
    "tune": "Search settings for each method, the same search for all.",
    "plan": "Print the preset that is fitted to a data set, as a file to keep and edit.",
    "status": "Print what of a run is done, what runs where, how far it is, and what waits.",
    "table": "Print the leaderboard of runs again, from their records alone.",
    "report": "Write one page with figures and a gallery, and figures for papers.",
    "compare": "Set two methods side by side, image by image.",
    "score": "Score stored predictions again, without any model.",
    "evaluate": "Score the trained models of a run on other labelled data.",
    "export-split": "Write the images of a run's split for another tool, labels where it may see them.",
    "add-row": "Score the masks of any other tool as a row of a run's table.",
    "package": "Write a trained model into a folder that stands alone.",
    "predict": "Predict images of your own with a trained method.",
    "check-submission": "Check a submission file by Kaggle's rules.",
    "data": "Check a data source, or count what is in it.",
    "methods": "List the methods, or print the card of one.",
    "new-method": "Write a file that adds a method and runs as it stands.",
    "check-method": "Test whether a method keeps the contract.",
    "doctor": "Say what this machine has, what is missing, how to get it.",
}
"""Verb to its line in the help; the verb's code is in harness.cli.<verb>, a command of the verb's name."""

EPILOG = """\b
Exit status: 0 success; 1 it ran, but a method failed or a check did not
pass; 2 something typed or given is wrong (one line says what); 130 stopped
from the keyboard.

\b
Completion of verbs and names, in bash (bash_source may be zsh_ or fish_source):
  eval "$(_HARNESS_COMPLETE=bash_source harness)"
"""


_TYPED = "harness.typed"
"""Where the click context keeps the words of the command line."""


class Verbs(click.Group):
    """A group that knows the names and help lines of its verbs without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"harness.cli.{name}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            ctx.fail(f"no verb {args[0]!r}{nearest(args[0], VERBS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        verbs = [CompletionItem(name, help=text) for name, text in VERBS.items() if name.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def main(self, *args: Any, **extra: Any) -> Any:
        print_any_character()
        return super().main(*args, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_TYPED] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HarnessError as error:
            _print_and_exit(error)
        except click.NoSuchOption as error:
            _print_and_exit(_unknown_option(error, ctx.meta[_TYPED]))


def _unknown_option(error: click.NoSuchOption, typed: list[str]) -> HarnessError:
    """The line for an option that is not there: what to type in place of what was typed."""
    verb = next((word for word in typed if word in VERBS), "")
    name = error.option_name
    near = get_close_matches(name, error.possibilities or (), n=1)
    if not near:
        return HarnessError(f"no option {name}; type: python -m harness {verb} --help")
    words = [near[0] + word[len(name) :] if word.partition("=")[0] == name else word for word in typed]
    return HarnessError(f"no option {name}; type: {shlex.join(['python', '-m', 'harness', *words])}")


def _print_and_exit(error: HarnessError) -> NoReturn:
    click.echo(f"error: {error}", err=True)
    raise click.exceptions.Exit(2)


@click.group(
    cls=Verbs, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="cell-segmentation-harness", prog_name="harness")
def harness() -> None:
    """Compare instance-segmentation methods on cell images under one fixed budget.

    Try: python -m harness run --methods mask_rcnn,copy_paste --preset smoke
    """
