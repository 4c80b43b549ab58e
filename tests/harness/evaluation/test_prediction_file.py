from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from random_cells import blobs, predictions_of
from systems import needs_named_pipes

from harness.contract import Predictions
from harness.errors import HarnessError
from harness.evaluation.prediction_file import read_predictions, write_predictions
from harness.masks import rle

CLASSES = ("cort", "astro")


def some(seed: int, n: int = 5) -> Predictions:
    rng = np.random.default_rng(seed)
    return predictions_of(blobs(rng, n), rng.random(n), rng.integers(0, 2, n))


def splits() -> dict[str, dict[str, Predictions]]:
    return {"calibration": {"a": some(1), "b/ü": some(2, 0)}, "validation": {"c": some(3)}}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "predictions.json.gz"
    write_predictions(path, splits(), CLASSES)
    return path


@pytest.fixture
def whole(written: Path) -> bytes:
    return written.read_bytes()


def everything(path: Path) -> dict[str, dict[str, Predictions]]:
    return {split: dict(inside) for split, inside in read_predictions(path).splits.items()}


def rewrite(path: Path, value: Any) -> None:
    path.write_bytes(gzip.compress(json.dumps(value).encode()))


def test_what_is_read_is_what_was_written(written: Path) -> None:
    assert read_predictions(written).classes == CLASSES
    back = everything(written)
    assert {split: list(inside) for split, inside in back.items()} == {"calibration": ["a", "b/ü"], "validation": ["c"]}
    for split, inside in splits().items():
        for image_id, found in inside.items():
            same = back[split][image_id]
            assert same.size == found.size
            assert np.array_equal(same.scores, found.scores)
            assert same.scores.dtype == np.float32
            assert np.array_equal(same.labels, found.labels)
            assert np.array_equal(same.masks.planes(*same.size), found.masks.planes(*found.size))


def test_the_same_predictions_give_the_same_bytes(written: Path, tmp_path: Path) -> None:
    write_predictions(tmp_path / "again", splits(), CLASSES)
    assert (tmp_path / "again").read_bytes() == written.read_bytes()


def test_predictions_are_a_coco_results_array(written: Path) -> None:
    from pycocotools import mask as coco

    entry = json.loads(gzip.decompress(written.read_bytes()))["predictions"][0]
    assert set(entry) == {"image_id", "category_id", "score", "segmentation"}
    assert np.array_equal(coco.decode(entry["segmentation"]), some(1).masks.planes(24, 28)[0])


CHANGES: dict[str, tuple[list[Any], Any]] = {
    "version": (["version"], 7),
    "class name": (["categories", 0, "name"], 3),
    "category ids": (["categories", 0, "id"], 2),
    "an image twice": (["images", 1, "id"], "a"),
    "an image's size": (["images", 0, "height"], 0),
    "a size that is no number": (["images", 0, "height"], "24"),
    "a truth value for a size": (["images", 0, "height"], True),
    "a huge image": (["images", 0, "height"], 10**9),
    "an image's split": (["images", 0, "split"], None),
    "an unlisted image": (["predictions", 0, "image_id"], "z"),
    "an id that cannot be one": (["predictions", 0, "image_id"], ["z"]),
    "no category": (["predictions", 0, "category_id"], 3),
    "category zero": (["predictions", 0, "category_id"], 0),
    "score": (["predictions", 0, "score"], 1.5),
    "score that is not a number": (["predictions", 0, "score"], float("nan")),
    "score as text": (["predictions", 0, "score"], "0.5"),
    "other size": (["predictions", 0, "segmentation", "size"], [24, 29]),
    "runs as numbers": (["predictions", 0, "segmentation", "counts"], [1, 2]),
    "runs of nothing": (["predictions", 0, "segmentation", "counts"], ""),
    "runs that break off": (["predictions", 0, "segmentation", "counts"], "o"),
    "runs beyond the image": (["predictions", 0, "segmentation", "counts"], "0" + "o" * 9 + "1"),
    "runs of no mask": (["predictions", 0, "segmentation", "counts"], "0"),
    "no segmentation": (["predictions", 0, "segmentation"], None),
    "no list": (["images"], 5),
}


@pytest.mark.parametrize("name", CHANGES)
def test_anything_odd_is_refused_in_one_line(written: Path, name: str) -> None:
    steps, value = CHANGES[name]
    whole = json.loads(gzip.decompress(written.read_bytes()))
    place = whole
    for step in steps[:-1]:
        place = place[step]
    place[steps[-1]] = value
    rewrite(written, whole)
    with pytest.raises(HarnessError) as refusal:
        everything(written)
    assert str(refusal.value).isprintable()
    assert written.name in str(refusal.value)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no file"):
        read_predictions(tmp_path / "nothing.json.gz")


@needs_named_pipes
def test_a_pipe_does_not_hold_us(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(HarnessError, match="no file"):
        read_predictions(tmp_path / "pipe")


def test_a_file_that_unpacks_to_very_much_is_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.json.gz"
    bomb.write_bytes(gzip.compress(b" " * 50_000_000))
    tracemalloc.start()
    with pytest.raises(HarnessError, match="unpacks to more"):
        read_predictions(bomb)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_run_lengths_that_claim_very_much_are_refused(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rle, "BOX_LIMIT", 20)
    with pytest.raises(HarnessError, match=r"'a': the boxes of its . masks hold more than 20 pixels"):
        everything(written)


def test_masks_are_unpacked_one_image_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "predictions.json.gz"
    whole = np.zeros((4, 100, 100), np.uint8)
    whole[:, ::2] = 1
    found = predictions_of(whole)
    write_predictions(path, {"validation": {str(i): found for i in range(400)}}, CLASSES)
    stored = read_predictions(path).splits["validation"]
    tracemalloc.start()
    pixels = [len(stored[image_id].masks.pixels) for image_id in stored]
    assert tracemalloc.get_traced_memory()[1] < sum(pixels) / 3
    tracemalloc.stop()
    assert pixels == [found.masks.pixels.size] * 400


def test_mutated_files_are_read_or_refused(whole: bytes, tmp_path: Path, figures: Any) -> None:
    tried, refused, mutated = 0, 0, tmp_path / "mutated"

    @settings(max_examples=examples(100))
    @given(data=st.data())
    def attack(data: st.DataObject) -> None:
        nonlocal tried, refused
        tried += 1
        inside = data.draw(st.booleans())
        target = bytearray(gzip.decompress(whole) if inside else whole)
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, len(target) - 1))
            how = data.draw(st.sampled_from(["change", "delete", "double"]))
            if how == "change":
                target[at] = data.draw(st.integers(0, 255))
            elif how == "delete":
                del target[at : at + data.draw(st.integers(1, 40))]
            else:
                target[at:at] = target[at : at + data.draw(st.integers(1, 40))]
            if not target:
                break
        mutated.write_bytes(gzip.compress(bytes(target)) if inside else bytes(target))
        try:
            everything(mutated)
        except HarnessError:
            refused += 1

    attack()
    figures("predictions", inputs=tried, refused=refused)
