"""Starts from the weights that an earlier run trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.contract import INIT, Card, Method, Part
from harness.options import Options, path_option, recorded_if_set


class FromRunOptions(Options):
    """Options of the init."""

    run: str | None = path_option(None, description="folder of the run whose weights are taken; must be given")
    method: str | None = recorded_if_set(
        None, description="method or folder of a trial of that run; none: the one that is most like the stack"
    )
    seed: int | None = recorded_if_set(
        None, ge=0, description="seed of that run; none: the trial's own, else the run's lowest"
    )
    scale: Literal["match", "preset"] | Annotated[float, Field(gt=0, le=16)] = recorded_if_set(
        "match",
        description="factor by which images are resized for the network; match: so that cells are as large as those of "
        "the run were; preset: that of the preset",
    )


METHOD = Method(
    name="from_run",
    card=Card(
        title="Weights of an earlier run: transfer from other cells",
        paper="How transferable are features in deep neural networks? (Yosinski, Clune, Bengio, Lipson)",
        year=2014,
        venue="NeurIPS",
        url="https://arxiv.org/abs/1411.1792",
        changes="init: the whole model starts from the weights that a run of this harness trained, on any data, "
        "classes and image size; the table shows the time with that training beside the own",
        departures=(
            "the network must be the same: engine, backbone, mask head and their options; a stack whose network the "
            "run does not hold is skipped",
            "a class of the same name keeps its weights in class heads, one class of the source serves all, and any "
            "other class is new",
            "where cells are less than 0.7 or more than 1.4 times as large as those that the weights were trained on, "
            "as the networks see them, this row's images are resized to that size; scale=preset keeps the preset's",
            "a preset that is fitted to the data takes the anchors of the run, unless they were set",
            "each seed starts from the same seed of the run, so that seeds stay independent",
        ),
    ),
    parts={
        "init": Part(
            "from_run", INIT, options_type=FromRunOptions, find_weights="harness.orchestration.run_weights:find"
        )
    },
    default=False,
)
