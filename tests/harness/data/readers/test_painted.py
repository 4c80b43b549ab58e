from __future__ import annotations

import numpy as np
import pytest
from data_files import assert_one_line
from hypothesis import given
from hypothesis import strategies as st

from harness.data.readers.painted import Settings, parse
from harness.data.sources import load
from harness.errors import HarnessError


def test_an_image_depends_on_seed_and_number_alone() -> None:
    dataset, few = (load(f"painted:images={n},size=64,cells=8-20", cache=False) for n in (6, 2))
    other = load("painted:images=2,size=64,cells=8-20,seed=1", cache=False)
    assert few.ids == dataset.ids[:2]
    assert dataset.classes == ("cell",)
    for i in range(2):
        assert np.array_equal(few[i].image, dataset[i].image)
        assert np.array_equal(few[i].instances.boxes, dataset[i].instances.boxes)
    assert few.fingerprint != other.fingerprint


def test_keys_are_read() -> None:
    assert parse("") == Settings(60, (256, 256), 0, (6.0, 150.0), ())
    found = parse("images=3,size=64x80,seed=5,cells=10-40.5,without=noise+phase")
    assert found == Settings(3, (64, 80), 5, (10.0, 40.5), ("noise", "phase"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cell=3-4", "no key 'cell'; did you mean 'cells'?"),
        ("cells=20", "cells is LOW-HIGH"),
        ("cells=5-20", "sides from 6 to 150 pixels"),
        ("cells=40-20", "sides from 6 to 150 pixels"),
        ("without=halos", "without are phase+"),
        ("images=0", "images is a whole number from 1"),
    ],
)
def test_what_cannot_be_painted_is_told(text: str, words: str) -> None:
    with pytest.raises(HarnessError) as caught:
        load(f"painted:{text}")
    assert words in str(caught.value)


@given(st.text(alphabet="imagesizedclwthoun=,x0123456789+.-", max_size=30))
def test_any_text_is_settings_or_refused(text: str) -> None:
    try:
        assert isinstance(parse(text), Settings)
    except HarnessError as error:
        assert_one_line(error)
