from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco

from harness.data.drawing import Canvas, Cell, Patch, TooMuchError, draw_sample, points_of
from harness.errors import HarnessError

HEIGHT, WIDTH = 24, 30


def plane(patch: Patch, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.bool_]:
    whole = np.zeros((height, width), np.bool_)
    whole[patch.y : patch.y + patch.inside.shape[0], patch.x : patch.x + patch.inside.shape[1]] = patch.inside
    return whole


def corners(x0: float, y0: float, x1: float, y1: float) -> NDArray[np.float64]:
    return np.asarray([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float64)


def holds_centre(ring: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The plain way: a ray to the right of each centre crosses the outline an odd number of times."""
    odd = np.zeros((HEIGHT, WIDTH), np.bool_)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            x, y = column + 0.5, row + 0.5
            for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                if (y0 < y) != (y1 < y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                    odd[row, column] ^= True
    return odd


def test_a_rectangle_of_whole_numbers_holds_its_pixels() -> None:
    patch = Canvas(HEIGHT, WIDTH).polygon([corners(3, 5, 7, 8)])
    assert (patch.x, patch.y, patch.inside.shape, patch.inside.all()) == (3, 5, (3, 4), True)


def test_centres_on_the_left_and_upper_edge_are_outside_those_on_the_others_inside() -> None:
    canvas, ring = Canvas(HEIGHT, WIDTH), corners(1.5, 2.5, 4.5, 6.5)
    for patch in (canvas.polygon([ring]), canvas.coco_polygon(ring)):
        assert (patch.x, patch.y, patch.inside.shape) == (2, 3, (4, 3))


@pytest.mark.parametrize("seed", range(20))
def test_any_outline_holds_the_pixels_whose_centre_is_inside(seed: int) -> None:
    ring = np.random.default_rng(seed).uniform(-6, 34, (int(seed % 7) + 3, 2))
    expected = holds_centre(ring)
    if expected.any():
        assert np.array_equal(plane(Canvas(HEIGHT, WIDTH).polygon([ring])), expected)


@pytest.mark.parametrize("seed", range(20))
def test_a_coco_polygon_is_what_pycocotools_makes_of_it(seed: int) -> None:
    ring = np.random.default_rng(seed).uniform(-6, 34, (seed % 7 + 3, 2))
    expected = coco.decode(coco.frPyObjects([ring.ravel().tolist()], HEIGHT, WIDTH))[..., 0] != 0
    assert np.array_equal(plane(Canvas(HEIGHT, WIDTH).coco_polygon(ring)), expected)


def test_an_outline_within_another_is_a_hole() -> None:
    whole = plane(Canvas(HEIGHT, WIDTH).polygon([corners(2, 2, 10, 10), corners(4, 4, 6, 6)]))
    assert whole.sum() == 64 - 4
    assert not whole[4:6, 4:6].any()


def test_an_ellipse_holds_the_centres_inside() -> None:
    whole = plane(Canvas(HEIGHT, WIDTH).ellipse(4, 6, 14, 12))
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    assert np.array_equal(whole, ((x - 9) / 5) ** 2 + ((y - 9) / 3) ** 2 <= 1)


@pytest.mark.parametrize(("x", "y"), [(-2, -1), (27, 22), (3, 4)])
def test_a_plane_is_cut_at_the_edges(x: int, y: int) -> None:
    expected = np.zeros((HEIGHT + 20, WIDTH + 20), np.bool_)
    expected[10 + y : 14 + y, 10 + x : 15 + x] = True
    assert np.array_equal(plane(Canvas(HEIGHT, WIDTH).plane(x, y, np.ones((4, 5), np.bool_))), expected[10:-10, 10:-10])


@pytest.mark.parametrize("ring", [corners(40, 40, 50, 50), corners(3, 3, 3, 8), corners(1, 1, 2, 2)[:2]])
def test_what_holds_no_pixel_is_refused(ring: NDArray[np.float64]) -> None:
    canvas = Canvas(HEIGHT, WIDTH)
    for draw in (lambda: canvas.polygon([ring]), lambda: canvas.coco_polygon(ring)):
        with pytest.raises(HarnessError, match=r"no pixel of the image|three points"):
            draw()


def test_a_union_keeps_both_parts() -> None:
    canvas = Canvas(HEIGHT, WIDTH)
    whole = plane(canvas.union([canvas.polygon([corners(1, 1, 3, 3)]), canvas.polygon([corners(10, 9, 12, 20)])]))
    assert whole.sum() == 4 + 22


def test_overlaps_stay_and_a_bad_cell_is_one_line() -> None:
    rings = [corners(1, 1, 6, 6), corners(90, 90, 99, 99), corners(3, 3, 8, 8)]
    draws = [partial(lambda ring, canvas: [canvas.polygon([ring])], ring) for ring in rings]
    cells = [Cell(f"row {i}", i % 2, draw) for i, draw in enumerate(draws)]
    sample, problems, outside = draw_sample("x", np.zeros((HEIGHT, WIDTH), np.uint8), cells, ("a", "b"))
    assert sample.instances.masks is not None
    assert sample.instances.masks.areas().tolist() == [25, 25]
    assert sample.instances.boxes.tolist() == [[1, 1, 6, 6], [3, 3, 8, 8]]
    assert (sample.instances.labels.tolist(), sample.cell_type) == ([0, 0], "a")
    assert problems == ["row 1: an outline that holds no pixel of the image"]
    assert outside == 1


def test_annotations_out_of_proportion_end() -> None:
    ring = corners(0, 0, 400, 400)
    zigzag = np.asarray([(i % 7, (i % 2) * 400) for i in range(20_000)], np.float64)
    cells = [Cell(str(i), 0, lambda canvas: [canvas.polygon([ring])]) for i in range(300)]
    with pytest.raises(TooMuchError, match="boxes"):
        draw_sample("x", np.zeros((400, 400), np.uint8), cells, ("cell",))
    for draw in (Canvas(400, 400).coco_polygon, lambda ring: Canvas(400, 400).polygon([ring])):
        with pytest.raises(TooMuchError, match="outlines"):
            draw(zigzag)


@pytest.mark.parametrize(
    "value", [None, 3, [1, 2], [[1]], [[1, "2"]], [[1, True]], [[1, float("nan")]], [[1, 10**400]]]
)
def test_what_is_no_list_of_points_is_refused(value: object) -> None:
    with pytest.raises(HarnessError):
        points_of(value)
