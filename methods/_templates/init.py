"""my_method: other starting weights.

The slot `init` says where weights start. What it names is read by the engine when it builds the network.
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
    # Options are JSON values: they are written into every record, and typed as my_method(kind=imagenet).
    parts={"init": Part("my_method", f"{__name__}:build", {"kind": "scratch", "path": None})},
)


def build(
    task: Task, kind: Literal["scratch", "imagenet", "coco", "checkpoint"] = "scratch", path: str | None = None
) -> Init:
    """kind and path: see harness.contract.Init.

    Weights you make yourself (pretrained on unlabelled images, say) are written to a file and named here as
    Init("checkpoint", path): a state_dict of the whole network, saved with torch.save.
    """
    return Init(kind, path)
