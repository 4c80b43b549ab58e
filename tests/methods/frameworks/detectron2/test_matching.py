"""Anchors are matched, and boxes drawn, as detectron2 does it."""

from __future__ import annotations

import pytest
import torch
from builders import boxes
from detectron2.modeling import sampling
from detectron2.modeling.matcher import Matcher
from detectron2.structures import Boxes, pairwise_iou
from hypothesis import given
from hypothesis import strategies as st

from methods.frameworks.detectron2.matching import (
    IoUThresholds,
    match_all,
    match_chunked,
    match_per_image,
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
    matches, labels = match_per_image(places, valid, anchors, rule)
    assert torch.equal(labels, match_all(places, valid, anchors, rule)[1])
    assert torch.equal(labels[1], theirs[1])
    assert torch.equal(matches[1][labels[1] == 1], theirs[0][labels[1] == 1])
    assert (labels[0] == 0).all()


@given(
    labels=st.lists(st.lists(st.integers(-1, 1), min_size=12, max_size=12), min_size=1, max_size=3),
    number=st.integers(1, 20),
    fraction=st.sampled_from([0.25, 0.5, 1.0]),
)
def test_as_many_are_drawn_as_detectron2_draws(labels: list[list[int]], number: int, fraction: float) -> None:
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


def test_every_box_is_drawn_as_often_as_any_other() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([1, 1, 1, 1, 0, 0, 0, 0, 0, -1], dtype=torch.int8).repeat(4000, 1)
    chosen = subsample_labels(labels, 4, 0.5)
    often = torch.bincount(chosen.indices[chosen.valid], minlength=10) / 4000
    torch.testing.assert_close(often, torch.tensor([0.5] * 4 + [0.4] * 5 + [0.0]), atol=0.03, rtol=0)
