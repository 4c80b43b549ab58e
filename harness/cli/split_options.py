"""The options of `run` that say how images are divided."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., object])

_OPTIONS = (
    click.option(
        "--split",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="CSV or JSON of image and part (train, calibration, validation).  [default: drawn at random]",
    ),
    click.option(
        "--validation", multiple=True, metavar="SOURCE", help="A data source that is scored on, as a whole; repeatable."
    ),
    click.option(
        "--calibration", multiple=True, metavar="SOURCE", help="A data source for choosing thresholds; repeatable."
    ),
    click.option(
        "--group-by",
        default="",
        metavar="COLUMN|REGEX",
        help="Images with the same value stay together: a column, or what (...) finds in the image's name.",
    ),
    click.option(
        "--hold-out",
        default="",
        metavar="NAME=VALUE",
        help="Score on the images with this value and train on the others, as in cell_type=cort.",
    ),
    click.option(
        "--folds",
        # 0 is the default: some versions of click hold defaults to the range too
        type=click.IntRange(0),
        default=0,
        is_flag=False,
        flag_value=5,
        metavar="[K]",
        show_default=False,
        help="Cross-validate: every image is predicted by a model that has not seen it. K trainings of each method "
        "and seed; 5 where K is left out.",
    ),
    click.option(
        "--labels",
        multiple=True,
        metavar="N|P%",
        help="Train on so many labelled images, the same for all methods; the other training images become unlabelled. "
        "Given again, every method is trained with each number.",
    ),
    click.option(
        "--unlabelled",
        multiple=True,
        metavar="DIR|SOURCE",
        help="Images to learn from without labels, besides those of the data source; repeatable.",
    ),
)


def split_options(command: Command) -> Command:
    """Add the options to a command."""
    return reduce(lambda made, option: option(made), reversed(_OPTIONS), command)
