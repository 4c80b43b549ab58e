"""Anchors are matched and boxes are sampled as in detectron2."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Any

import compiled_matching
import pytest
import torch
from detectron2.modeling import sampling
from detectron2.modeling.matcher import Matcher
from detectron2.structures import Boxes, pairwise_iou
from engine_fixtures import boxes
from hypothesis import given
from hypothesis import strategies as st
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from methods.frameworks.detectron2.matching import (
    MATCH_CHUNK,
    IoUThresholds,
    match_all,
    match_chunked,
    match_step,
    subsample_labels,
)


@pytest.mark.parametrize("low_quality", [True, False])
@pytest.mark.parametrize("cells", [0, 1, 7, 60])
@pytest.mark.parametrize("pairs_at_once", [1, 2**16])
def test_matches_and_labels(cells: int, low_quality: bool, pairs_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("methods.shared.chunking.MAX_CHUNK_ELEMENTS", pairs_at_once)
    generator = torch.Generator().manual_seed(cells)
    # rows of equal anchors, so that there are ties
    anchors = boxes(500, 16, generator).round().repeat(2, 1)
    targets = boxes(cells, 12, generator)
    if cells > 1:
        targets[0] = torch.tensor([500.0, 500, 510, 510])  # where no anchor is
        targets[1] = targets[2 % cells]
    matcher = Matcher([0.3, 0.7], [0, -1, 1], allow_low_quality_matches=low_quality)
    theirs = matcher(pairwise_iou(Boxes(targets), Boxes(anchors)))
    rule = IoUThresholds(0.3, 0.7, low_quality)
    ours = match_chunked(targets, anchors, rule)
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])

    # as on a GPU: two images at once, the other without a cell
    places = torch.zeros(2, max(cells, 1) + 3, 4)
    places[1, :cells] = targets
    valid = torch.arange(places.shape[1]) < torch.tensor([[0], [cells]])
    matches, labels = match_all(places, valid, anchors, rule)
    assert torch.equal(labels[1], theirs[1])
    assert torch.equal(matches[1][labels[1] == 1], theirs[0][labels[1] == 1])
    assert (labels[0] == 0).all()


class LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest result of any operator."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        sizes = [x.numel() for x in tree_leaves(result) if isinstance(x, torch.Tensor)]
        self.elements = max([self.elements, *sizes])
        return result


@pytest.mark.parametrize("instances", [10, 200])
def test_no_tensor_on_a_gpu_holds_all_pairs(instances: int) -> None:
    generator = torch.Generator().manual_seed(0)
    targets, anchors = boxes(2 * instances, 12, generator).reshape(2, -1, 4), boxes(1000, 16, generator)
    with LargestTensor() as largest:
        match_all(targets, torch.ones(2, instances, dtype=torch.bool), anchors, IoUThresholds(0.3, 0.7, True))
    assert largest.elements == 2 * MATCH_CHUNK * 1000


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_compiled_matching_stores_no_pairs() -> None:
    """In the code that inductor generates, every buffer is smaller than the pairs of one chunk.

    It runs in a process of its own: inductor asks setuptools for the compiler, and setuptools refuses where another
    module has imported Python's own distutils before.
    """
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, compiled_matching.__file__],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [str(2 * 3000), "True"], done.stderr


def test_matching_is_compiled_once_for_any_number_of_instances() -> None:
    generator = torch.Generator().manual_seed(0)
    anchors, thresholds = boxes(300, 16, generator), IoUThresholds(0.3, 0.7, True)
    counter = CompileCounterWithBackend("eager")
    step = torch.compile(match_step, backend=counter, dynamic=False)
    for instances in (1, 5, 40, 90):
        targets = boxes(2 * instances, 12, generator).reshape(2, -1, 4)
        valid = torch.ones(2, instances, dtype=torch.bool)
        compiled = match_all(targets, valid, anchors, thresholds, step)
        for one, other in zip(compiled, match_all(targets, valid, anchors, thresholds), strict=True):
            assert torch.equal(one, other)
    assert counter.frame_count == 1


@given(
    labels=st.lists(st.lists(st.integers(-1, 1), min_size=12, max_size=12), min_size=1, max_size=3),
    number=st.integers(1, 20),
    fraction=st.sampled_from([0.25, 0.5, 1.0]),
)
def test_as_many_are_sampled_as_detectron2_samples(labels: list[list[int]], number: int, fraction: float) -> None:
    given = torch.tensor(labels, dtype=torch.int8)
    chosen = subsample_labels(given, number, fraction)
    assert chosen.indices.shape == (len(labels), min(number, 12))
    for row, places, positive, used in zip(given, *chosen, strict=True):
        ones, zeros = sampling.subsample_labels(row, number, fraction, 0)
        assert int(positive.sum()) == len(ones)
        assert int(used.sum()) == len(ones) + len(zeros)
        assert len(set(places[used].tolist())) == int(used.sum())
        assert (row[places[positive]] == 1).all()
        assert (row[places[used & ~positive]] == 0).all()
        assert positive.tolist() == sorted(positive.tolist(), reverse=True)
        assert used.tolist() == sorted(used.tolist(), reverse=True)


def test_every_box_is_sampled_equally_often() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([1, 1, 1, 1, 0, 0, 0, 0, 0, -1], dtype=torch.int8).repeat(4000, 1)
    chosen = subsample_labels(labels, 4, 0.5)
    often = torch.bincount(chosen.indices[chosen.valid], minlength=10) / 4000
    torch.testing.assert_close(often, torch.tensor([0.5] * 4 + [0.4] * 5 + [0.0]), atol=0.03, rtol=0)
