"""my_method: other starting weights.

The slot `init` says where weights start. They are found when a run is planned, and the engine loads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.contract import INIT, Card, Method, Part, Recipe, StartingWeights
from harness.options import Options, path_option


class MyOptions(Options):
    """Written into every record; a user types my_method(weights=FILE)."""

    weights: str | None = path_option(None, description="file of the weights; none: start from scratch")


METHOD = Method(
    name="my_method",
    # Fill in the card: `python -m harness methods my_method` prints it.
    card=Card(
        title="my_method",
        paper="unpublished",
        year=2021,
        venue="none",
        changes="init: says in one sentence what it does to the recipe",
        labels="full masks",
        departures=(),
    ),
    parts={"init": Part("my_method", INIT, options_type=MyOptions, find_weights=f"{__name__}:find")},
)


def find(recipe: Recipe, options: MyOptions, seed: int, settings: Mapping[str, Any]) -> StartingWeights:
    """The file for the network of this recipe. Called when a run is planned (harness.contract.Part).

    A file of your own (pretrained on unlabelled images, say) is a state_dict of the whole network, of the kind
    "checkpoint". Raise NoWeightsError where there is none for this network: its trials are then skipped.
    """
    if options.weights is None:
        return StartingWeights("scratch")
    return StartingWeights("checkpoint", options.weights, source="what they were trained on")
