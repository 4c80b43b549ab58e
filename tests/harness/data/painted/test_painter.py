from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from harness.data.painted.camera import MEAN, STANDARD_DEVIATION, photograph
from harness.data.painted.layout import LEAST_PIXELS, lay_out
from harness.data.painted.optics import show
from harness.data.painted.outlines import FAMILIES, outlines
from harness.data.painted.painter import paint
from harness.data.painted.scene import EFFECTS, MODALITIES, MOST_CELLS, SIDES, Scene, draw_scene
from harness.masks.crops import CropMasks

SIZE = (128, 160)


def scenes(number: int, **changes: object) -> list[tuple[Scene, np.random.Generator]]:
    """Scenes of different seeds with some values set, each with the generator that goes on from there."""
    found = []
    for seed in range(number):
        rng = np.random.default_rng(seed)
        found.append((replace(draw_scene(rng, (10, 40)), **changes), rng))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("seed", range(40))
def test_masks_are_sound_and_images_are_not_flat(seed: int) -> None:
    image, masks, scene = paint(SIZE, np.random.default_rng(seed))
    assert image.shape[:2] == SIZE
    assert image.dtype == np.uint8
    assert image.ndim == (3 if scene.modality == "stained" else 2)
    assert image.std() > 2
    assert 1 <= len(masks) <= MOST_CELLS
    assert np.array_equal(masks.boxes, masks.tight()[0].boxes)
    assert masks.areas().min() >= LEAST_PIXELS
    assert (masks.boxes >= 0).all()
    assert (masks.boxes[:, 2:] <= SIZE[::-1]).all()


def test_an_image_follows_from_its_seed() -> None:
    first, second, other = (paint(SIZE, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1].pixels, second[1].pixels)
    assert first[2] == second[2]
    assert not np.array_equal(first[0], other[0])


def test_scenes_differ_in_everything() -> None:
    drawn = [draw_scene(np.random.default_rng(seed), SIDES) for seed in range(200)]
    assert {scene.modality for scene in drawn} == set(MODALITIES)
    assert {scene.arrangement for scene in drawn} == {"lone", "clustered", "crowded", "sheet"}
    assert {family for scene in drawn for family in scene.families} == set(FAMILIES)
    sides = [scene.side for scene in drawn]
    assert min(sides) < 8
    assert max(sides) > 120
    assert all(SIDES[0] <= side <= SIDES[1] for side in sides)


@pytest.mark.parametrize("family", FAMILIES)
def test_outlines_have_the_sides_that_were_asked_for(family: str) -> None:
    sides = np.array([6.0, 20.0, 150.0])
    points = outlines(FAMILIES[family], sides, np.random.default_rng(0))
    boxes = points.max(axis=1) - points.min(axis=1)
    assert np.allclose(np.sqrt(boxes.prod(axis=1)), sides)
    assert np.abs(points.max(axis=1) + points.min(axis=1)).max() < 1e-9


@pytest.mark.parametrize("side", [8, 20, 60])
def test_cells_of_an_image_are_as_large_as_its_scene_says(side: int) -> None:
    for scene, rng in scenes(4, side=float(side), spread=0.1, arrangement="lone", holes=0.0, coverage=0.2):
        masks = lay_out(scene, (200, 200), rng)[1]
        boxes = masks.boxes
        whole = (boxes[:, :2] > 0).all(axis=1) & (boxes[:, 2:] < 200).all(axis=1)
        if whole.any():
            median = np.median(np.sqrt((boxes[whole, 2:] - boxes[whole, :2]).prod(axis=1)))
            assert 0.7 * side < median < 1.3 * side + 2


def test_an_image_may_hold_one_cell_or_a_thousand() -> None:
    few, rng = scenes(1, side=100.0, coverage=0.03, arrangement="lone")[0]
    many, rng = scenes(1, side=8.0, coverage=0.85, arrangement="crowded", overlap=0.0)[0]
    assert len(lay_out(few, (64, 64), rng)[1]) == 1
    assert len(lay_out(many, (512, 512), rng)[1]) > 1000


def test_labels_are_what_is_painted() -> None:
    """Without blur, noise and what lies between cells, fluorescence is bright in cells and nowhere else."""
    plain = {"blur": 0.0, "noise": 0.0, "light": 0.0, "background": 0.0, "debris": 0.0, "fibres": 0.0, "texture": 0.0}
    same = {"variation": 0.0, "bright": 0.0, "nucleus": 0.0, "edge": 0.1, "inverted": False, "levels": 64.0}
    for scene, rng in scenes(12, modality="nuclei", overlap=0.0, **plain, **same):
        layers, masks = lay_out(scene, SIZE, rng)
        union = masks.planes(*SIZE).max(axis=0)
        assert np.array_equal(union > 0, layers[0].labels > 0)
        # haze and glow are a part of the light, so the edge is looked at
        image = show(scene, layers, rng)
        kernel = np.ones((3, 3), np.uint8)
        inside = image[cv2.erode(union, kernel, iterations=2) > 0]
        outside = image[cv2.dilate(union, kernel) == 0]
        if inside.size and outside.size:
            assert np.median(inside) > np.median(outside) + 0.3


def test_cells_that_lie_across_others_keep_their_whole_masks() -> None:
    scene, rng = scenes(1, overlap=1.0, arrangement="crowded", coverage=0.8)[0]
    layers, masks = lay_out(replace(scene, overlap=0.4), SIZE, rng)
    assert len(layers) == 2
    assert masks.areas().sum() > (masks.planes(*SIZE).sum(axis=0) > 0).sum()
    assert isinstance(masks, CropMasks)


def test_outlines_can_be_seen_where_they_are_annotated() -> None:
    """Brightness changes more at the borders of cells than elsewhere, in nearly all images."""
    seen = []
    for seed in range(40):
        image, masks, _ = paint(SIZE, np.random.default_rng(seed), (12, 40))
        grey = image if image.ndim == 2 else image.mean(axis=2)
        soft = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1)
        slope = np.hypot(cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1))
        border = np.zeros(SIZE, np.bool_)
        for plane in masks.planes(*SIZE):
            border |= cv2.dilate(plane, np.ones((3, 3), np.uint8)) != cv2.erode(plane, np.ones((3, 3), np.uint8))
        if border.any() and not border.all():
            seen.append(slope[border].mean() > 1.05 * slope[~border].mean())
    assert np.mean(seen) > 0.85


@pytest.mark.parametrize("name", [*MODALITIES, *EFFECTS])
def test_what_is_left_out_is_not_drawn(name: str) -> None:
    drawn = [draw_scene(np.random.default_rng(seed), SIDES, [name]) for seed in range(30)]
    fields = {
        "sheets": lambda scene: scene.arrangement == "sheet",
        "overlaps": lambda scene: scene.overlap > 0,
        "holes": lambda scene: scene.holes > 0,
        "debris": lambda scene: scene.debris > 0,
        "fibres": lambda scene: scene.fibres > 0,
        "light": lambda scene: scene.light > 0,
        "defocus": lambda scene: scene.blur > 0.5,
        "noise": lambda scene: scene.noise > 0.02,
        "texture": lambda scene: scene.texture > 0 or scene.background > 0,
        "sizes": lambda scene: scene.spread > 0,
    }
    there = fields.get(name, lambda scene: scene.modality == name)
    assert not any(there(scene) for scene in drawn)
    assert any(there(draw_scene(np.random.default_rng(seed), SIDES)) for seed in range(60))


def test_images_differ_around_one_mean_and_contrast() -> None:
    """A network that is normalised by the two sees images of mean 0 and standard deviation 1, more or less."""
    images = [paint((64, 64), np.random.default_rng(seed), (10, 30))[0] for seed in range(60)]
    assert abs(np.mean([image.mean() for image in images]) - MEAN) < 8
    assert 0.6 * STANDARD_DEVIATION < np.mean([image.std() for image in images]) < 1.2 * STANDARD_DEVIATION
    assert np.std([image.std() for image in images]) > 3


def test_pixels_stay_in_range_whatever_is_shown() -> None:
    scene, rng = scenes(1, gain=2.0, noise=0.5)[0]
    for shown in (np.zeros((40, 40), np.float32), np.full((40, 40, 3), 7, np.float32)):
        assert photograph(scene, shown, rng).shape == shown.shape
