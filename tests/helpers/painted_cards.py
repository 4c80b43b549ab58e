"""What stands beside weights learned on painted cells, for tests that write such files."""

from __future__ import annotations

from harness.training.painted_file import Card, Making

CARD = Card(
    method="mask_rcnn",
    architecture={"backbone": {"name": "resnet"}},
    settings={"width": 128},
    budget="3it",
    seed=0,
    iterations=3,
    code="0" * 64,
    cells=(9.0, 45.0),
    training={},
    mean=100.0,
    std=32.0,
    parameters=5,
    score=0.25,
)
MAKING = Making(seconds=1.5, command="python -m harness pretrain", finished="", machine={}, versions={}, git_commit="")
