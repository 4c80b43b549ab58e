"""my_method: other starting weights.

The slot `init` says where weights start. The engine reads it when it builds the network.
"""

from __future__ import annotations

from typing import Literal

from harness.contract import Card, Init, Method, Part, Task

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
    # Options are JSON values, written into every record; a user types my_method(kind=imagenet).
    parts={"init": Part("my_method", f"{__name__}:build", {"kind": "scratch", "path": None})},
)


def build(
    task: Task, kind: Literal["scratch", "imagenet", "coco", "checkpoint"] = "scratch", path: str | None = None
) -> Init:
    """kind and path: see harness.contract.Init.

    Weights of your own (pretrained on unlabelled images, say) are a state_dict of the whole network, saved to a file
    with torch.save: return Init("checkpoint", path).
    """
    return Init(kind, path)
