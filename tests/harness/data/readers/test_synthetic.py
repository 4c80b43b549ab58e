from __future__ import annotations

import numpy as np
import pytest
from data_files import assert_one_line
from hypothesis import given
from hypothesis import strategies as st

from harness.data.dataset import Dataset
from harness.data.readers.synthetic import Settings, parse
from harness.data.sources import load
from harness.data.statistics import describe
from harness.errors import HarnessError


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load("synthetic:images=18", cache=False)


def test_the_default_is_sixty_images_of_three_types() -> None:
    settings = parse("")
    assert (settings.images, settings.size, settings.types) == (60, (256, 256), ("shsy5y", "astro", "cort"))


def test_cells_are_like_those_they_are_modelled_on(dataset: Dataset) -> None:
    figures = describe(dataset)["by_class"]
    images = {name: dataset.cell_types.count(name) for name in dataset.classes}
    a_image = {name: figures[name]["cells"] / images[name] for name in images}
    assert set(images.values()) == {6}
    assert a_image["shsy5y"] > 2 * a_image["astro"]
    assert all(8 <= count <= 70 for count in a_image.values())
    assert 150 < figures["shsy5y"]["area"]["median"] < 350
    assert 150 < figures["cort"]["area"]["median"] < 350
    assert figures["astro"]["area"]["median"] > 600
    assert all(f["width"]["p5"] >= 8 for f in figures.values())
    assert all(f["overlapped"] > 0 for f in figures.values())
    assert figures["astro"]["with_holes"] > 0


def test_masks_are_sound_and_images_are_not_flat(dataset: Dataset) -> None:
    for i in range(len(dataset)):
        sample = dataset[i]
        masks = sample.instances.masks
        assert masks is not None
        assert np.array_equal(masks.boxes, masks.tight()[0].boxes)
        assert masks.areas().min() >= 50
        assert sample.image.shape == (256, 256)
        assert 5 < sample.image.std() < 40
        assert abs(sample.image.mean() - 128) < 10
        assert dataset.classes[sample.instances.labels[0]] == sample.cell_type


def test_an_outline_can_be_seen_where_it_is_annotated(dataset: Dataset) -> None:
    """Just inside cells it is darker than just outside, or there would be nothing to learn."""
    import cv2

    inside, outside = [], []
    for sample in (dataset[i] for i in range(len(dataset))):
        assert sample.instances.masks is not None
        union = sample.instances.masks.planes(*sample.size).max(axis=0)
        kernel = np.ones((3, 3), np.uint8)
        inside.append(sample.image[(union - cv2.erode(union, kernel)) > 0].mean())
        outside.append(sample.image[(cv2.dilate(union, kernel) - union) > 0].mean())
    assert (np.asarray(outside) - inside > 10).all()


def test_an_image_depends_on_seed_and_number_alone(dataset: Dataset) -> None:
    few = load("synthetic:images=3", cache=False)
    assert few.ids == dataset.ids[:3]
    for i in range(3):
        assert np.array_equal(few[i].image, dataset[i].image)
        assert np.array_equal(few[i].instances.boxes, dataset[i].instances.boxes)
    other = load("synthetic:images=3,seed=1", cache=False)
    assert not np.array_equal(few[0].image, other[0].image)


def test_keys_do_what_they_say() -> None:
    plain = load("synthetic:images=2,size=64x200,types=cort", cache=False)
    assert plain[0].size == (64, 200)
    assert set(plain.cell_types) == {"cort"}
    assert plain.classes == ("shsy5y", "astro", "cort")
    dense = load("synthetic:images=2,size=128,density=3", cache=False)
    assert dense.cells > 1.5 * load("synthetic:images=2,size=128", cache=False).cells


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("imges=3", "no key 'imges'; did you mean 'images'?"),
        ("images=0", "images is a whole number from 1"),
        ("images=many", "images is a whole number"),
        ("images=3,images=4", "images is there twice"),
        ("size=16", "each from 32 to 8192"),
        ("size=256x", "size is SIDE or HEIGHTxWIDTH"),
        ("types=hela", "types are shsy5y+astro+cort"),
        ("density=0", "density is a number above 0"),
        ("density=nan", "density is a number above 0"),
        ("seed=-1", "seed is a whole number"),
    ],
)
def test_what_cannot_be_drawn_is_told(text: str, words: str) -> None:
    with pytest.raises(HarnessError) as caught:
        load(f"synthetic:{text}")
    assert words in str(caught.value)


@given(st.text(alphabet="imagesized=,x0123456789+.-cort", max_size=30))
def test_any_text_is_settings_or_refused(text: str) -> None:
    try:
        assert isinstance(parse(text), Settings)
    except HarnessError as error:
        assert_one_line(error)
