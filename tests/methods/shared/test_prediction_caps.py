"""Images with many cells keep them all, also images larger than those of the data set."""

from __future__ import annotations

import pytest
from engine_fixtures import SMALL, recipe, task

from harness.contract import Part
from methods.shared.prediction_caps import PredictionCaps, prediction_caps

TORCHVISION = Part("torchvision", "methods.frameworks.torchvision.rcnn:build", {"version": 1, "depth": 18})


@pytest.mark.parametrize(
    ("cells", "sizes", "proposals", "detections"),
    [
        (10, [], 1000, 100),
        (790, [(96, 96)], 2370, 1185),
        (790, [(20, 30), (96, 96)], 2370, 1185),
        (10, [(960, 960)], 80_000, 10_000),
        (10, [(96, 192), (50, 50)], 1600, 200),
    ],
)
def test_caps(cells: int, sizes: list[tuple[int, int]], proposals: int, detections: int) -> None:
    assert prediction_caps(task(1, max_cells=cells), 1000, sizes) == PredictionCaps(proposals, detections)


def test_the_caps_of_detectron2_follow_each_image() -> None:
    base = recipe()
    model = base.engine.build(base, task(1, max_cells=10, **SMALL))
    seen = []
    for side in (96, 960, 96):
        model.set_caps([(side, side)])
        rpn, predictor = model.module.proposal_generator, model.module.roi_heads.box_predictor
        seen.append((rpn.pre_nms_topk[False], rpn.post_nms_topk[False], predictor.test_topk_per_image))
    assert seen == [(225, 225, 100), (22_500, 22_500, 10_000), (225, 225, 100)]
    assert rpn.post_nms_topk[True] == SMALL["proposals"]


def test_the_caps_of_torchvision_follow_each_image() -> None:
    base = recipe().with_parts(engine=TORCHVISION)
    model = base.engine.build(base, task(1, max_cells=10, **SMALL))
    module, seen = model.module.eval(), []
    for side in (96, 960, 96):
        model.set_caps([(side, side)])
        seen.append((module.rpn.pre_nms_top_n(), module.rpn.post_nms_top_n(), module.roi_heads.detections_per_img))
    assert seen == [(225, 225, 100), (22_500, 22_500, 10_000), (225, 225, 100)]
    assert module.train().rpn.post_nms_top_n() == 2 * SMALL["proposals"], "torchvision's own 2,000 for 1,000"
