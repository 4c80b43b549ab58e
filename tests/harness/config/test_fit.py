"""Any data set gets a preset that every engine takes, and the reasons are said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.catalog import Catalog, load_catalog
from harness.config.anchors import anchor_recall
from harness.config.fit import (
    BYTES_OF_PIXEL,
    Fingerprint,
    ImagesOfSize,
    fitted,
)
from harness.config.preset import (
    Preset,
    check_settings,
    load_preset,
    with_settings,
    with_typed_settings,
)
from harness.config.preset_file import preset_text
from harness.config.tiling import WHOLE_PIXELS
from harness.contract import Init
from harness.errors import HarnessError
from harness.stacks import resolve

GIB = 2**30


def data(side: float, image: int = 512, cells: int = 50, spread: float = 0.3, count: int = 200) -> Fingerprint:
    """Cells of about one size on square images."""
    rng = np.random.default_rng(0)
    boxes = np.maximum(1, side * np.exp(rng.normal(0, spread, (count, 2))))
    return Fingerprint(boxes, image, (image, image), cells / image**2)


def two_sizes(usual: float, other: float, images: int = 5) -> Fingerprint:
    """20 images of 256 x 256 and some of 300 x 400, with 20 cells each of these sides."""
    sides, sizes = (
        np.repeat([usual, other], [400, 20 * images]),
        np.repeat([[256, 256], [300, 400]], [400, 20 * images], 0),
    )
    by_size = (
        ImagesOfSize((256, 256), 20, 400, np.full(20, usual)),
        ImagesOfSize((300, 400), images, 20 * images, np.full(images, other)),
    )
    return Fingerprint(np.stack([sides, sides], 1), 256, (300, 400), 3e-4, by_size, sizes)


def fit(data: Fingerprint, preset: str = "auto", device: str = "cpu", memory: int | None = None) -> Preset:
    return fitted(load_preset(preset), data, device, memory)


@pytest.mark.parametrize(
    ("side", "scale"), [(67, (0.25, 0.4)), (20, (1, 1)), (24, (1, 1)), (8, (2, 3)), (200, (0.08, 0.12))]
)
def test_the_median_cell_comes_near_the_best_size(side: float, scale: tuple[float, float]) -> None:
    found = fit(data(side, image=1024))
    assert scale[0] <= found.scale <= scale[1]
    assert found.training.crop * found.scale == pytest.approx(128, abs=64)


def test_small_cells_are_not_shrunk_away() -> None:
    mixed = Fingerprint(np.repeat([[6.0, 6.0], [80.0, 80.0]], (30, 70), axis=0), 1024, (1024, 1024), 1e-4)
    assert mixed.side(5) * fit(mixed).scale >= 3.9


def test_a_crop_holds_large_cells() -> None:
    mixed = Fingerprint(np.repeat([[20.0, 20.0], [120.0, 120.0]], (80, 20), axis=0), 1024, (1024, 1024), 1e-4)
    found = fit(mixed)
    assert found.training.crop == 192
    assert found.training.batch < load_preset("auto").training.batch


def test_a_crop_is_no_larger_than_the_images() -> None:
    found = fit(data(20, image=64))
    assert found.training.crop == 64
    assert found.training.batch == 2 * load_preset("auto").training.batch


def test_a_batch_fits_the_memory() -> None:
    assert fit(data(20), "standard", "cuda", 80 * GIB).training.batch == 8
    assert fit(data(20), "standard", "cuda:1", 12 * GIB).training.batch == 4
    assert fit(data(20), memory=2 * GIB).training.batch == 2


def test_images_that_no_memory_holds_are_one_line_with_what_to_type() -> None:
    with pytest.raises(HarnessError) as caught:
        fit(data(20, image=2_800), memory=GIB // 2)
    assert "2800 x 2800 pixels for the network" in str(caught.value)
    assert "takes at least 0.7 GiB to predict, and there are 0.5" in str(caught.value)
    assert "--set model.scale=0.74" in str(caught.value)
    smaller = with_settings(load_preset("auto"), {"model.scale": 0.74})
    fitted(smaller, data(20, image=2_800), "cpu", GIB // 2, ["model.scale"])


def test_images_of_any_size_fit_since_large_ones_are_predicted_in_tiles() -> None:
    assert fit(data(20, image=20_000), memory=GIB // 2).scale == 1


def test_a_crowded_crop_gets_more_proposals() -> None:
    few, many = fit(data(20, cells=20)), fit(data(20, cells=900))
    assert many.model["rois_per_image"] > few.model["rois_per_image"]
    assert many.model["proposals"] > few.model["proposals"]


def test_anchors_follow_cells_that_those_of_the_preset_miss() -> None:
    large = fit(data(20), "paper")
    assert large.model["anchor_scale"] < 8
    boxes = data(20).boxes
    assert anchor_recall(boxes, large.model["anchor_scale"]) > anchor_recall(boxes * large.scale, 8.0)


def test_long_cells_get_long_anchors() -> None:
    long = np.concatenate([np.tile([60.0, 12.0], (100, 1)), np.tile([12.0, 60.0], (100, 1))])
    found = fit(Fingerprint(long, 512, (512, 512), 1e-3))
    ratios = found.model["anchor_ratios"]
    assert max(ratios) == 3
    assert len(ratios) == 3
    assert anchor_recall(long * found.scale, found.model["anchor_scale"], ratios) == 1
    assert anchor_recall(long * found.scale, 2.0) < 0.9
    assert any("up to 3 times as long as wide" in sentence for sentence in found.fit)
    assert "anchor_ratios" not in fit(data(20)).model


def test_anchors_of_a_coarse_grid_are_not_taken_for_their_size() -> None:
    """A data set whose anchors were once of 4 to 64 pixels: they have the size of every cell, and few are in place."""
    spread = data(20, spread=0.5)
    assert fit(spread).model["anchor_scale"] >= load_preset("auto").model["anchor_scale"]


def test_every_outcome_is_said_and_written_down() -> None:
    found = fit(data(67, image=1024))
    assert found.fit[0].startswith("cells are 6")
    assert "shrunk to 0." in found.fit[0]
    assert any("anchors of" in sentence for sentence in found.fit)


def test_the_file_of_a_fitted_preset_is_read_as_the_same_preset(tmp_path: Any) -> None:
    found = fit(data(67, image=1024))
    path = tmp_path / "mine.toml"
    path.write_text(preset_text(found, "\n".join(found.fit)), encoding="utf-8")
    again = load_preset(str(path))
    assert again == found.model_copy(update={"name": "mine", "fit": ()})


def test_what_was_set_stays_and_the_other_rules_follow_it() -> None:
    preset = with_settings(load_preset("auto"), {"model.scale": 0.5})
    found = fitted(preset, data(67, image=1024), "cpu", None, ["model.scale"])
    assert found.scale == 0.5
    assert found.fit[0] == "model.scale is 0.5, as it was set"
    assert "for the network" in found.fit[1]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@settings(max_examples=150)
@given(
    side=st.floats(1, 5000),
    image=st.integers(16, 20_000),
    cells=st.integers(1, 5000),
    spread=st.floats(0, 1.5),
    count=st.integers(1, 50),
    base=st.sampled_from([("auto", "cpu"), ("standard", "cuda")]),
    memory=st.one_of(st.none(), st.integers(2**28, 2**40)),
)
def test_any_data_give_a_preset_that_every_engine_takes(
    catalog: Catalog,
    side: float,
    image: int,
    cells: int,
    spread: float,
    count: int,
    base: tuple[str, str],
    memory: int | None,
) -> None:
    measured = data(min(side, image), image, cells, spread, count)
    whole = fit(measured, *base)
    height, width = measured.resized(whole.scale, {}).largest_image
    if memory is not None and memory < BYTES_OF_PIXEL * height * width <= BYTES_OF_PIXEL * WHOLE_PIXELS:
        with pytest.raises(HarnessError, match="cut large images into parts"):
            fit(measured, *base, memory)
        return
    found = fit(measured, *base, memory)
    for engine in ("mask_rcnn", "torchvision_starter"):
        check_settings(found, resolve(catalog, engine, found.size, Init("scratch")))
    seen = round(found.training.crop * found.scale)
    assert 16 <= seen <= 2 * load_preset(base[0]).training.crop + 32
    assert image * found.scale <= max(image, 2200)
    assert (
        found.training.batch * seen**2
        <= 2.5 * load_preset(base[0]).training.batch * load_preset(base[0]).training.crop ** 2
    )
    assert found.fit


def test_images_of_a_size_with_other_cells_have_a_scale_of_their_own() -> None:
    found = fit(two_sizes(17, 50))
    assert found.scale_by_size == {(300, 400): 0.4}
    assert any("those of 300 x 400 are shrunk to 0.4 (cells of 50)" in sentence for sentence in found.fit)
    shown = two_sizes(17, 50).resized(found.scale, found.scale_by_size)
    assert shown.side(5) >= 14
    assert shown.side(95) <= 25
    assert shown.cells_per_pixel == pytest.approx(25 * 20 / (20 * 256**2 + 5 * 300 * 400 * 0.16), rel=0.3)


@pytest.mark.parametrize(("side", "images"), [(50, 4), (22, 5)])
def test_few_images_and_cells_of_about_one_size_have_one_scale(side: float, images: int) -> None:
    assert not fit(two_sizes(17, side, images)).scale_by_size


def test_a_typed_scale_is_for_all_images() -> None:
    preset = with_settings(load_preset("auto"), {"model.scale": 0.5})
    assert not fitted(preset, two_sizes(17, 50), "cpu", None, ["model.scale"]).scale_by_size


@pytest.mark.parametrize("key", ["256", "0x4", "axb"])
def test_a_size_that_is_none_is_one_line(key: str) -> None:
    with pytest.raises(HarnessError, match="scale_by_size"):
        with_typed_settings(load_preset("auto"), [f'model.scale_by_size={{"{key}"=0.5}}'])


def test_one_setting_can_be_typed() -> None:
    preset = with_typed_settings(
        load_preset("auto"), ["model.scale=0.5", "training.decay=cosine", "evaluation.validation=0.4"]
    )
    assert (preset.scale, preset.training.decay, preset.evaluation.validation) == (0.5, "cosine", 0.4)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("scale=0.5", "'scale' names no setting; type one of training.KEY"),
        ("model.scale", "--set model.scale: type it as in --set model.scale=0.5"),
        ("model.scale=0", "scale=0 must be a number above 0"),
        ("training.crpo=4", "no option 'training.crpo'; did you mean 'crop'"),
    ],
)
def test_a_mistake_in_a_typed_setting_is_one_line(typed: str, said: str) -> None:
    with pytest.raises(HarnessError) as caught:
        with_typed_settings(load_preset("auto"), [typed])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_that_are_not_changed_stay() -> None:
    quick = load_preset("quick")
    assert with_settings(quick, {"training.crop": 64}).model_copy(update={"training": quick.training}) == quick
