"""Compiles the matching of anchors for a CPU and prints what the generated code stores.

compiled_matching.py        prints the elements of the largest buffer, and whether the results are the uncompiled ones
"""

from __future__ import annotations

import math
import re

import torch
from engine_fixtures import boxes
from torch._inductor.utils import run_and_get_code

from methods.frameworks.detectron2.matching import IoUThresholds, match_all, match_step
from methods.shared.compiled import FUSE_ALL, CompiledWithFallback


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    places, anchors = boxes(2 * 16, 12, generator).view(2, 16, 4), boxes(3000, 16, generator)
    valid, thresholds = torch.ones(2, 16, dtype=torch.bool), IoUThresholds(0.3, 0.7, True)
    step = CompiledWithFallback(match_step, dynamic=False, options=FUSE_ALL)
    with torch._inductor.config.patch(force_disable_caches=True):
        found, (code,) = run_and_get_code(lambda: match_all(places, valid, anchors, thresholds, step))
    shapes = re.findall(r"= empty_strided_cpu\(\(([\d, ]+)\)", code)
    largest = max(math.prod(int(side) for side in shape.split(",") if side.strip()) for shape in shapes)
    plain = match_all(places, valid, anchors, thresholds)
    print(largest, all(torch.equal(one, other) for one, other in zip(found, plain, strict=True)))


if __name__ == "__main__":
    main()
