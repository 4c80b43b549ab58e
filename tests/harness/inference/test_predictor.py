"""Large images of a data set are predicted in tiles, and give what they give as a whole."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from harness.contract import Instances, Predictions, Sample
from harness.inference.ensemble import Ensemble
from harness.inference.grid import TilingPolicy
from harness.inference.predictor import predict_all
from harness.inference.scaled import at_scale, tiles_of
from harness.masks.crops import CropMasks
from harness.monitoring.flops import FlopCounter
from harness.results.status import status_from_exception
from harness.transforms.resize import scaled_size

PITCH, CELL = 40, 12
"""Distance and side of the cells, in pixels."""


class Components:
    """Finds what is connected and bright. It remembers the sizes that it saw."""

    def __init__(self, memory: int = 2**62) -> None:
        self.module, self.memory, self.seen = torch.nn.Module(), memory, list[tuple[int, ...]]()

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, torch.Tensor]:
        raise AssertionError("it is not trained here")

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        from scipy.ndimage import label

        (image,) = images
        self.seen.append(image.shape)
        if image.size > self.memory:
            raise MemoryError
        masks, _ = CropMasks.from_label_image(label(image >= 128)[0])
        size = (image.shape[0], image.shape[1])
        return [Predictions(size, masks, np.full(len(masks), 0.9, np.float32), np.zeros(len(masks), np.int64))]


def large(height: int = 700, width: int = 900) -> Sample:
    image = np.zeros((height, width), np.uint8)
    for y in range(PITCH // 2, height - CELL, PITCH):
        for x in range(PITCH // 2, width - CELL, PITCH):
            image[y : y + CELL, x : x + CELL] = 200
    return Sample("large", image, Instances.of_masks(CropMasks.empty(), np.zeros(0, np.int64)))


SMALL_TILES = TilingPolicy(1.0, {}, CELL, tile=256, whole_pixels=400 * 400)


def boxes(found: Predictions) -> list[list[int]]:
    return sorted(found.masks.boxes.tolist())


def test_tiles_find_what_the_whole_image_shows() -> None:
    samples = [large(), replace(large(300, 300), image_id="small")]
    whole = predict_all(Components(), samples, 1, "cpu", 0.05)
    model = Components()
    done = predict_all(model, samples, 1, "cpu", 0.05, tiling=SMALL_TILES)
    for name in ("large", "small"):
        assert boxes(done.found[name]) == boxes(whole.found[name])
    assert not whole.notes
    assert max(max(size) for size in model.seen[:-1]) <= 256
    assert model.seen[-1] == (300, 300)
    assert list(done.notes) == ["large images were predicted in tiles of 256 pixels, which overlap"]
    assert len(done.milliseconds) == 2


def test_progress_of_a_large_image_is_told_by_tile() -> None:
    told = list[tuple[float, float]]()
    done = predict_all(
        Components(), [large()], 1, "cpu", 0.05, lambda number, ms: told.append((number, ms)), tiling=SMALL_TILES
    )
    tiles = len(told) - 1
    assert tiles > 10
    assert [number for number, _ in told] == pytest.approx([*(np.arange(1, tiles + 1) / tiles), 1])
    assert told[-1][1] == done.milliseconds[0]


def test_tiles_of_a_scaled_model_are_resized_as_their_image_is_and_counted_once() -> None:
    sample, model = large(), Components()
    counted = FlopCounter(at_scale(model, 1.0, {sample.size: 0.5}))
    tiling = replace(SMALL_TILES, scale_by_size={sample.size: 0.5}, whole_pixels=200 * 200)
    done = predict_all(counted, [sample], 1, "cpu", 0.05, tiling=tiling)
    assert model.seen[0] == scaled_size(counted.size, 0.5)
    assert counted.size != sample.size
    assert len(done.found["large"]) == len(predict_all(Components(), [sample], 1, "cpu", 0.05).found["large"])


def test_a_tile_that_the_memory_does_not_hold_is_divided_and_told() -> None:
    done = predict_all(Components(memory=200 * 200), [large()], 1, "cpu", 0.05, tiling=SMALL_TILES)
    assert boxes(done.found["large"]) == boxes(predict_all(Components(), [large()], 1, "cpu", 0.05).found["large"])
    assert any("smaller tiles" in note for note in done.notes)
    with pytest.raises(MemoryError, match="smallest tile") as caught:
        predict_all(Components(memory=10), [large()], 1, "cpu", 0.05, tiling=SMALL_TILES)
    assert status_from_exception(caught.value)[0] == "oom"


def test_what_a_tile_took_is_freed_before_smaller_ones_are_predicted() -> None:
    class Features:
        pass

    class Hungry(Components):
        def __init__(self) -> None:
            super().__init__(memory=200 * 200)
            self.alive, self.left = weakref.WeakSet[Features](), list[int]()

        def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
            self.left.append(len(self.alive))
            features = Features()
            self.alive.add(features)
            return super().predict(images)

    model = Hungry()
    predict_all(model, [large()], 1, "cpu", 0.05, tiling=SMALL_TILES)
    assert set(model.left) == {0}


def test_tiles_of_a_counted_ensemble_are_resized_as_their_image_is() -> None:
    model, size = Components(), (600, 800)
    counted = FlopCounter(Ensemble([at_scale(model, 1.0, {size: 0.5})]))
    with tiles_of(counted, size):
        counted.predict([np.zeros((60, 80), np.uint8)])
    assert model.seen == [(30, 40)]
