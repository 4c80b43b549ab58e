"""Every source that comes with the harness keeps what harness.data.conformance asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from example_sources import EXAMPLES, WITHOUT_FILES

from harness.data.conformance import CHECKS
from harness.data.registry import find_sources
from harness.data.sources import check, load
from harness.errors import HarnessError


def test_every_built_in_source_has_an_example() -> None:
    sources, broken = find_sources()
    assert not broken
    assert set(sources) == set(EXAMPLES)


@pytest.mark.filterwarnings("ignore")  # decoders warn of damaged files
@pytest.mark.parametrize("promise", CHECKS, ids=lambda promise: promise.__name__)
@pytest.mark.parametrize("kind", EXAMPLES)
def test_source_keeps(kind: str, promise: Callable[[str], None], tmp_path: Path) -> None:
    if kind in WITHOUT_FILES and promise.__name__ == "a_missing_place_is_told_in_one_line":
        pytest.skip("it has no place")
    promise(EXAMPLES[kind](tmp_path))


@pytest.mark.parametrize("kind", [kind for kind in EXAMPLES if kind not in WITHOUT_FILES])
def test_a_folder_is_taken_for_what_it_is_and_for_nothing_else(kind: str, tmp_path: Path) -> None:
    source = EXAMPLES[kind](tmp_path)
    with pytest.raises(HarnessError) as told:
        check(str(tmp_path))
    assert str(told.value) == f"{tmp_path} is a folder and names no kind of data; it looks like {source}: type that"


@pytest.mark.parametrize("kind", [kind for kind in EXAMPLES if kind not in WITHOUT_FILES])
def test_examples_are_read_whole(kind: str, tmp_path: Path) -> None:
    source = EXAMPLES[kind](tmp_path)
    assert check(source).problems == ()
    dataset = load(source)
    assert (len(dataset), dataset.cells) == (3, 6)


def test_the_page_of_formats_has_every_kind() -> None:
    page = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    assert [source.usage for source in find_sources()[0].values() if f"| `{source.usage}` |" not in page] == []
