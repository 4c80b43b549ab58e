"""What every data source must keep to, as checks that a new one inherits.

Each check is a function of a typed source ("npz:/some/folder") whose data are good; the first line of its docstring is
the promise it tests; it raises AssertionError with one line. A test of a new source is

    @pytest.mark.parametrize("check", CHECKS)
    def test_source(check, tmp_path):
        check("npz:" + write_example(tmp_path))

Nothing here writes to the files of the source: damage is done to a copy.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from harness.data.dataset import Dataset
from harness.data.registry import find_sources, open_source
from harness.data.sources import check, load
from harness.errors import HarnessError

Check = Callable[[str], None]

DAMAGED_FILES = 8
"""At most so many files of a source are damaged, one after the other."""


def named_as_it_is_typed(source: str) -> None:
    """The source has a name, a usage that begins with it, and one line of help."""
    kind = source.partition(":")[0]
    known = find_sources()[0]
    assert kind in known, f"no source is called {kind!r}"
    assert known[kind].usage.startswith(kind), f"the usage {known[kind].usage!r} does not begin with the name"
    assert known[kind].help, "there is no line of help"
    assert known[kind].help.isprintable(), "the help is not one line"


def index_repeats(source: str) -> None:
    """The index is the same twice: classes, number of images, problems."""
    first, second = open_source(source).index(), open_source(source).index()
    assert first.classes == second.classes, "classes differ from one call to the next"
    assert len(first.entries) == len(second.entries), "the number of images differs from one call to the next"
    assert first.problems == second.problems, "problems differ from one call to the next"


def ids_are_unique_and_sorted(source: str) -> None:
    """Ids are unique, printable, and in the order of the index."""
    ids = list(load(source, cache=False).ids)
    assert len(set(ids)) == len(ids), "two images share an id"
    assert ids == sorted(ids), "images are not in the order of their ids"
    assert all(image_id and image_id.isprintable() for image_id in ids), "an id is empty or not printable"


def samples_keep_the_contract(source: str) -> None:
    """Images are uint8, boxes lie inside them, masks are tight, labels are among the classes."""
    assert_sound(load(source, cache=False))


def reading_repeats(source: str) -> None:
    """Two readings give the same pixels and masks, with and without the packed copy."""
    fingerprints = {load(source, cache=cache).fingerprint for cache in (False, False, True, True)}
    assert len(fingerprints) == 1, "the same files give other samples the second time"


def stamp_tells_of_a_change(source: str) -> None:
    """The stamp is JSON, repeats, and changes with a file."""
    with _copied(source) as (copy, files):
        before = json.dumps(open_source(copy).stamp())
        assert before == json.dumps(open_source(copy).stamp()), "the stamp differs while nothing changes"
        for path in files[:1]:
            path.write_bytes(path.read_bytes() + b" ")
            assert before != json.dumps(open_source(copy).stamp()), f"{path.name} changed, the stamp did not"


def unlabelled_images_exist(source: str) -> None:
    """Unlabelled images are files that are there, and none of them is annotated."""
    unlabelled = open_source(source).unlabelled()
    assert all(path.is_file() for path in unlabelled), "an unlabelled image is not there"
    assert len(set(unlabelled)) == len(unlabelled), "an unlabelled image is listed twice"


def damage_is_told_in_one_line(source: str) -> None:
    """A file that breaks off, is empty or holds something else is a line, never a traceback."""
    for damage in (lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: b"\0\xff not this" * 9):
        with _copied(source) as (copy, files):
            for path in files[:DAMAGED_FILES]:
                whole = path.read_bytes()
                path.write_bytes(damage(whole))
                said = [*check(copy).problems, _refusal(lambda: assert_sound(load(copy, skip_bad=True, cache=False)))]
                assert all(line.isprintable() for line in said), f"{path.name}: not one line"
                path.write_bytes(whole)


def a_missing_place_is_told_in_one_line(source: str) -> None:
    """A path that does not exist is one line that says what to type."""
    kind = source.partition(":")[0]
    said = _refusal(lambda: open_source(f"{kind}:/no/such/place").index())
    assert said, "a folder that does not exist is accepted"
    assert said.isprintable(), "not one line"


CHECKS: tuple[Check, ...] = (
    named_as_it_is_typed,
    index_repeats,
    ids_are_unique_and_sorted,
    samples_keep_the_contract,
    reading_repeats,
    stamp_tells_of_a_change,
    unlabelled_images_exist,
    damage_is_told_in_one_line,
    a_missing_place_is_told_in_one_line,
)


def assert_sound(dataset: Dataset) -> None:
    """Every promise that a Sample makes. Raises AssertionError."""
    assert dataset.cells > 0, "there is no cell"
    for i in range(len(dataset)):
        sample = dataset[i]
        height, width = sample.size
        cells, masks = sample.instances, sample.instances.masks
        where = f"image {sample.image_id}"
        assert masks is not None, f"{where}: no masks"
        assert sample.image.dtype == np.uint8, f"{where}: pixels are {sample.image.dtype}, not uint8"
        assert sample.image.shape[2:] in ((), (3,)), f"{where}: the shape is {sample.image.shape}"
        assert len(cells.labels) == len(masks) == len(cells.boxes), f"{where}: labels, masks and boxes differ in number"
        if len(masks):
            assert masks.boxes[:, :2].min() >= 0, f"{where}: a box begins outside"
            assert (masks.boxes[:, 2:] <= (width, height)).all(), f"{where}: a box ends outside"
            assert masks.pixels.max() == 1, f"{where}: a mask has a value that is neither 0 nor 1"
            assert np.array_equal(masks.tight()[0].boxes, masks.boxes), f"{where}: a mask is empty or not tight"
            assert cells.labels.min() >= 0, f"{where}: a label is negative"
            assert cells.labels.max() < len(dataset.classes), f"{where}: a label is no class"


def _refusal(call: Callable[[], object]) -> str:
    """What the call refuses with; empty where it does not."""
    try:
        call()
    except HarnessError as error:
        return str(error)
    return ""


@contextmanager
def _copied(source: str) -> Iterator[tuple[str, list[Path]]]:
    """The same source, typed for a copy of its files, and the files of the copy."""
    location = open_source(source).location
    kind = source.partition(":")[0]
    with tempfile.TemporaryDirectory() as folder:
        copies: dict[Path, Path] = {}
        for number, path in enumerate(dict.fromkeys(location.paths)):
            copies[path] = Path(folder) / str(number) / path.name
            copies[path].parent.mkdir()
            if path.is_dir():
                shutil.copytree(path, copies[path])
            else:
                shutil.copy(path, copies[path])
        typed = ",".join(str(copies[path]) for path in location.paths)
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        yield (f"{kind}:{typed}" if location.paths else source), files
