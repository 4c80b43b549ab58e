"""The random window: size, scale, padding, and where it lands."""

from __future__ import annotations

import numpy as np
import pytest

from harness.transforms.window import RandomWindow


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("size", [(90, 120), (30, 120), (20, 25), (64, 64)])
def test_result_is_a_cut_of_the_image(scene, pool_of, size, colour) -> None:
    sample = scene(1, size, colour=colour)
    rng = np.random.default_rng(0)
    for _ in range(5):
        cut = RandomWindow(64)(sample, rng, pool_of(sample))
        assert cut.image.shape == (64, 64, *sample.image.shape[2:])
        assert cut.image.flags.c_contiguous
        height, width = min(64, size[0]), min(64, size[1])
        places = [
            (y, x)
            for y in range(size[0] - height + 1)
            for x in range(size[1] - width + 1)
            if np.array_equal(sample.image[y : y + height, x : x + width], cut.image[:height, :width])
        ]
        assert len(places) == 1
        y, x = places[0]
        dense = sample.instances.masks.planes(*size)[:, y : y + height, x : x + width]
        dense = dense[dense.sum(axis=(1, 2)) >= 4]
        np.testing.assert_array_equal(cut.instances.masks.planes(64, 64)[:, :height, :width], dense)
        grey = np.rint(cut.image[:height, :width].mean(axis=(0, 1)))
        assert (cut.image[height:] == grey).all()
        assert (cut.image[:, width:] == grey).all()


def test_large_scale_jitter_as_published(sample_of, pool_of) -> None:
    """docs/methods.md#copy-paste, check 9: s = 0.5 on 520x704 to 1024: 378x512, padded at the bottom and right."""
    image = np.arange(520 * 704, dtype=np.uint32).astype(np.uint8).reshape(520, 704)
    planes = np.zeros((1, 520, 704), bool)
    planes[0, 260:, 352:] = True
    sample = sample_of(image, planes)
    window = RandomWindow(1024, 0.5, 0.5, fit=True)
    small = window(sample, np.random.default_rng(0), pool_of(sample))
    assert small.image.shape == (1024, 1024)
    np.testing.assert_array_equal(small.instances.boxes, [[256, 189, 512, 378]])
    grey = np.rint(small.image[:378, :512].mean())
    assert (small.image[378:] == grey).all()
    assert (small.image[:, 512:] == grey).all()


@pytest.mark.parametrize("scale", [0.6, 0.8, 1.25, 2.0])
def test_image_and_masks_are_scaled_alike(sample_of, pool_of, scale) -> None:
    """Cells are bright discs: after scaling the bright pixels must be those of the masks, but for the rim."""
    y, x = np.mgrid[:200, :260]
    planes = np.array([(x - cx) ** 2 + (y - cy) ** 2 < 144 for cx, cy in ((60, 50), (130, 100), (200, 150), (70, 150))])
    sample = sample_of(np.where(planes.any(axis=0), 255, 0).astype(np.uint8), planes)
    rng = np.random.default_rng(2)
    for _ in range(5):
        cut = RandomWindow(96, scale, scale, focus=1.0)(sample, rng, pool_of(sample))
        seen = cut.instances.masks.planes(96, 96).any(axis=0)
        wrong = seen != (cut.image > 127)
        if round(200 * scale) < 96 or round(260 * scale) < 96:
            wrong[:, round(260 * scale) :] = wrong[round(200 * scale) :] = False
        assert wrong.sum() <= 0.06 * seen.sum()  # one pixel of misalignment would be 0.2
        whole = (cut.instances.boxes[:, :2] > 0).all(axis=1) & (cut.instances.boxes[:, 2:] < 96).all(axis=1)
        for i in np.flatnonzero(whole):
            assert cut.instances.masks.areas()[i] == pytest.approx(planes[0].sum() * scale**2, rel=0.1)


def test_windows_favour_cells_but_go_everywhere(sample_of, pool_of) -> None:
    planes = np.zeros((1, 400, 400), bool)
    planes[0, 300:310, 20:30] = True
    sample = sample_of(np.zeros((400, 400), np.uint8), planes)

    def hits(focus: float) -> float:
        rng = np.random.default_rng(0)
        window = RandomWindow(64, focus=focus)
        return float(np.mean([len(window(sample, rng, pool_of(sample)).instances) for _ in range(300)]))

    assert hits(1.0) == 1.0
    assert hits(0.0) < 0.1
    assert 0.65 < hits(0.75) < 0.85


def test_same_seed_same_window(scene, pool_of) -> None:
    sample = scene(2)
    window = RandomWindow(50, 0.5, 2.0)
    first, second, third = (window(sample, np.random.default_rng(s), pool_of(sample)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.instances.masks.pixels, second.instances.masks.pixels)
    assert not np.array_equal(first.image, third.image)


def test_an_image_without_cells(sample_of, pool_of) -> None:
    sample = sample_of(np.full((40, 40), 7, np.uint8), np.zeros((0, 40, 40)))
    cut = RandomWindow(64, 0.5, 2.0)(sample, np.random.default_rng(0), pool_of(sample))
    assert len(cut.instances) == 0
    assert (cut.image == 7).all()
