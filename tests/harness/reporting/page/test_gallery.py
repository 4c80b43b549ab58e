"""The gallery: which images, which outlines, and that what it counts is what the scorer counts."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_run import with_records
from hypothesis import given
from hypothesis import strategies as st

from harness.data.sources import load
from harness.errors import HarnessError
from harness.evaluation.prediction_file import PREDICTIONS
from harness.masks.crops import CropMasks
from harness.reporting.leaderboard import leaderboard_of_runs
from harness.reporting.page.gallery import Gallery, choose, gallery
from harness.reporting.page.outlines import UNITS, image_data_uri, outlines, pack


@pytest.fixture(scope="module")
def made(run_dir: Path) -> Gallery:
    return gallery(leaderboard_of_runs([run_dir]), run_dir)


def test_images_go_from_worst_to_best_by_the_baseline(run_dir: Path, made: Gallery) -> None:
    scores = [picture.score for picture in made.pictures]
    assert scores == sorted(scores)
    assert [made.pictures[0].why, made.pictures[-1].why] == ["worst", "best"]
    assert made.chosen_by == "mask_rcnn"
    records = [
        r for row in leaderboard_of_runs([run_dir]).rows if row.method == "mask_rcnn" for r in row.provenance.records
    ]
    first = made.pictures[0]
    assert first.score == pytest.approx(np.mean([r.scores.by_image[first.image_id] for r in records if r.scores]))


def test_it_opens_on_a_median_image(made: Gallery) -> None:
    assert made.pictures[made.opens_on].why == "median"


def test_of_many_images_two_of_each(run_dir: Path) -> None:
    [row] = [row for row in leaderboard_of_runs([run_dir]).rows if row.method == "mask_rcnn"]
    many = {f"i{k:02}": k / 20 for k in range(20)}
    record = row.provenance.records[0]
    assert record.scores is not None
    faked = record.model_copy(update={"scores": record.scores.model_copy(update={"by_image": many})})
    _, chosen = choose([with_records(row, (faked,))])
    assert [(why, image) for why, image, _ in chosen] == [
        ("worst", "i00"), ("worst", "i01"), ("median", "i09"), ("median", "i10"), ("best", "i18"), ("best", "i19"),
    ]  # fmt: skip


def test_counts_are_the_scorer_s(run_dir: Path, made: Gallery) -> None:
    """All validation images are in this gallery, so its counts add up to the record's F1."""
    for row in leaderboard_of_runs([run_dir]).rows:
        if not row.ranked:
            continue
        record = row.provenance.records[0]
        assert record.scores is not None
        panels = [panel for picture in made.pictures for panel in picture.panels if panel.method == row.method]
        assert len(panels) == len(record.scores.by_image)
        right, missed, false = np.sum([panel.counts for panel in panels], axis=0)
        assert right + missed == sum(picture.cells for picture in made.pictures)
        assert 2 * right / (2 * right + missed + false) == pytest.approx(record.scores.f1_50)
        for panel in panels:
            # a mask has one ring or, with holes or in pieces, more
            for count, packed in zip(panel.counts, (panel.right, panel.missed, panel.false), strict=True):
                assert len(_rings(packed)) >= count
                assert bool(packed) == bool(count)


def test_the_truth_is_drawn_where_the_cells_are(run_dir: Path, made: Gallery) -> None:
    picture = made.pictures[0]
    dataset = load("synthetic:images=12,size=96")
    sample = dataset.sample(picture.image_id)
    assert sample.instances.masks is not None
    drawn = np.zeros(sample.size, np.uint8)
    for ring in _rings(picture.truth):
        cv2.fillPoly(drawn, [np.rint(ring / UNITS - 0.5).astype(np.int32)], 1)
    cells = np.zeros(sample.size, np.uint8)
    for box, crop in zip(sample.instances.masks.boxes, sample.instances.masks, strict=True):
        cells[box[1] : box[3], box[0] : box[2]] |= crop
    assert (drawn & cells).sum() / (drawn | cells).sum() > 0.9


@given(st.integers(3, 40), st.integers(3, 40), st.integers(0, 2**31))
def test_outlines_stay_near_their_masks(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    plane = (cv2.GaussianBlur(rng.random((height, width)), (0, 0), 3) > 0.5).astype(np.uint8)
    if not plane.any():
        return
    [outline] = outlines(CropMasks.from_planes(plane[None]))
    inside = np.argwhere(plane)[:, ::-1] + 0.5
    for point in np.concatenate(outline) / UNITS:
        assert np.linalg.norm(inside - point, axis=1).min() < 1
    assert sum(len(ring) for ring in _rings(pack([outline]))) == sum(len(ring) for ring in outline)


def test_nothing_packs_to_nothing() -> None:
    assert pack([]) == ""


def test_a_large_image_is_made_smaller() -> None:
    rng = np.random.default_rng(0)
    width, height, uri = image_data_uri(rng.integers(90, 110, (300, 600), np.uint8), 0.5)
    assert (width, height) == (300, 150)
    encoded = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    shown = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
    assert shown.shape == (150, 300)
    assert shown.max() - shown.min() > 150, "dim images are stretched"


def test_no_predictions_no_gallery(own_run: Path) -> None:
    for path in own_run.glob(f"trials/*/{PREDICTIONS}"):
        path.unlink()
    with pytest.raises(HarnessError, match="only records"):
        gallery(leaderboard_of_runs([own_run]), own_run)


def test_one_method_without_predictions_is_named(own_run: Path) -> None:
    for path in own_run.glob(f"trials/deepmac*/{PREDICTIONS}"):
        path.unlink()
    found = gallery(leaderboard_of_runs([own_run]), own_run)
    assert [note for note in found.notes if "deepmac" in note]
    assert "deepmac" not in {panel.method for panel in found.pictures[0].panels}


@pytest.mark.parametrize(
    ("source", "said"),
    [("synthetic:images=12,size=64", "no longer what it was"), ("folder:no,where", "no 'no'|there is")],
)
def test_other_data_or_none_no_gallery(own_run: Path, source: str, said: str) -> None:
    for path in own_run.glob("trials/*/trial.json"):
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "source": source}))
    with pytest.raises(HarnessError, match=said):
        gallery(leaderboard_of_runs([own_run]), own_run)


def _rings(packed: str) -> list[np.ndarray]:
    """As the page's script reads them."""
    values, rings, at = np.frombuffer(base64.b64decode(packed), "<i2"), [], 0
    while at < len(values):
        n = int(values[at])
        rings.append(values[at + 1 : at + 1 + 2 * n].reshape(n, 2))
        at += 1 + 2 * n
    return rings
