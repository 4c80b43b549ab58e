"""Starts from weights that were learned on painted cells: no download, no licence but the harness's own."""

from __future__ import annotations

from harness.contract import INIT, Card, Method, Part
from harness.options import Options, path_option


class PaintedOptions(Options):
    """Options of the init."""

    weights: str | None = path_option(
        None, description="file that `pretrain` wrote; none: the user's own for this network, else the package's"
    )


METHOD = Method(
    name="painted",
    card=Card(
        title="Weights learned on painted cells",
        paper="Domain randomization for transferring deep neural networks from simulation to the real world (Tobin, "
        "Fong, Ray, Schneider, Zaremba, Abbeel)",
        year=2017,
        venue="IROS",
        url="https://arxiv.org/abs/1703.06907",
        changes="init: the whole model starts from weights that `python -m harness pretrain` trained on cells that the "
        "harness paints; the table shows the time with that training beside the own",
        departures=(
            "the paper randomises rendered scenes of a robot; here it is microscopes, cultures and cameras "
            "(docs/methods.md#painted-cells)",
            "a preset that is fitted to the data takes the anchors of these weights, unless they were set",
            "what is painted has one class, whose weights every class of the data starts from",
            "a network for which there are no weights takes those of one that differs in the mask head alone, and its "
            "mask head is new; any other is skipped: `pretrain` makes its weights, or `run --pretrain`",
        ),
    ),
    parts={
        "init": Part(
            "painted", INIT, options_type=PaintedOptions, find_weights="harness.training.painted_weights:find_start"
        )
    },
    default=False,
)
