from __future__ import annotations

import dataclasses
import errno
import mmap
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from data_files import kaggle_row, write_kaggle

from harness.data import dataset
from harness.data.dataset import Dataset
from harness.data.sources import load
from harness.data.store import pack as packing
from harness.data.store.pack import digest
from harness.data.synthetic import phase_contrast
from harness.errors import HarnessError

SOURCE = "synthetic:images=4,size=64"


def files_of(cache: Path) -> list[Path]:
    return sorted(p for p in cache.rglob("*") if p.is_file())


def same(a: Dataset, b: Dataset) -> bool:
    facts = ("ids", "classes", "cell_types", "groups", "notes", "fingerprint", "skipped_bad", "cells")
    return all(getattr(a, f) == getattr(b, f) for f in facts) and all(
        digest(a[i]) == digest(b[i]) for i in range(len(a))
    )


def no_drawing(*_: object) -> None:
    raise AssertionError("drawn again")


def test_a_warm_start_reads_the_pack_and_gives_the_same(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = load(SOURCE, cache=False)
    assert not files_of(own_cache)
    cold = load(SOURCE)
    assert [p.name for p in files_of(own_cache)] == ["crops.bin", "index.npz", "pixels.bin"]
    monkeypatch.setattr(phase_contrast, "draw", no_drawing)
    assert same(plain, cold)
    assert same(plain, load(SOURCE))


def test_only_what_was_kept_is_looked_through_for_damage(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_through: list[str] = []
    monkeypatch.setattr(dataset, "digest", lambda sample: looked_through.append(sample.image_id) or digest(sample))
    cold = load(SOURCE)
    assert [cold[i].image_id for i in range(4)] == list(cold.ids)
    assert not looked_through
    warm = load(SOURCE)
    for _ in range(2):
        assert [warm[i].image_id for i in range(4)] == list(warm.ids)
    assert looked_through == list(warm.ids)


def test_images_are_mapped_and_cannot_be_written(own_cache: Path) -> None:
    load(SOURCE)
    image = load(SOURCE)[0].image
    with pytest.raises(ValueError, match="read-only"):
        image[0, 0] = 1
    base: object = image
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, mmap.mmap)


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell what is resident")
def test_images_looked_at_do_not_stay_in_memory(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = load("synthetic:images=24,size=128")
    first = images[0]
    before = first.image.copy()
    everything = sum(images[i].image.nbytes for i in range(len(images)))
    for i in range(len(images)):
        images[i].image.max()
    assert resident("pixels.bin") >= everything
    monkeypatch.setattr(dataset, "HELD_BYTES", 4 * first.image.nbytes)
    for i in range(len(images)):
        images[i].image.max()
    assert resident("pixels.bin") < everything / 2
    assert np.array_equal(first.image, before)


def resident(name: str) -> int:
    """Bytes of a mapped file that this process holds."""
    lines = Path("/proc/self/smaps").read_text("utf-8").splitlines()
    at = [i for i, line in enumerate(lines) if line.endswith(name)]
    found = [next(line for line in lines[i:] if line.startswith("Rss:")) for i in at]
    return 1024 * sum(int(line.split()[1]) for line in found)


def test_a_change_of_the_files_is_seen_and_the_old_pack_goes(tmp_path: Path, own_cache: Path) -> None:
    source = write_kaggle(tmp_path, [kaggle_row("a", "1 2")])
    before = load(source).fingerprint
    write_kaggle(tmp_path, [kaggle_row("a", "1 3")])
    second = load(source)
    assert second.fingerprint != before
    assert second[0].instances.boxes.tolist() == [[0, 0, 3, 1]]
    assert len(files_of(own_cache)) == 3


@pytest.mark.parametrize("name", ["index.npz", "pixels.bin", "crops.bin"])
@pytest.mark.parametrize("harm", ["cut", "flip", "gone", "emptied", "longer"])
def test_a_damaged_pack_is_made_anew(own_cache: Path, name: str, harm: str) -> None:
    plain = load(SOURCE, cache=False)
    load(SOURCE)
    path = next(p for p in files_of(own_cache) if p.name == name)
    before, content = path.stat(), path.read_bytes()
    middle = len(content) // 2
    damaged = {
        "cut": content[:middle],
        "flip": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "gone": None,
        "emptied": b"",
        "longer": content + b"\0",
    }[harm]
    if damaged is None:
        path.unlink()
    else:
        path.write_bytes(damaged)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert same(plain, load(SOURCE))
    assert same(plain, load(SOURCE))


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("images", (1, 0), 5),
        ("images", (1, 1), 65),
        ("images", (0, 3), -1),
        ("cells", (1,), 10**6),
        ("cells", (-1,), 1),
        ("boxes", (0, 2), 10**6),
        ("boxes", (0, 2), -5),
        ("crop_starts", (1,), 10**9),
        ("crop_starts", (0,), 1),
    ],
)
def test_an_index_that_leads_astray_is_not_believed(
    own_cache: Path, name: str, place: tuple[int, ...], value: int
) -> None:
    load(SOURCE)
    folder = files_of(own_cache)[0].parent
    pack = packing.read_pack(folder)
    assert pack is not None
    array = getattr(pack, name).copy()
    array[place] = value
    packing.write_index(dataclasses.replace(pack, **{name: array}), folder)
    assert packing.read_pack(folder) is None


def test_a_pack_holds_no_pickle(own_cache: Path) -> None:
    load(SOURCE)
    index = next(p for p in files_of(own_cache) if p.name == "index.npz")
    np.savez(index, facts=np.asarray([{"a": 1}], object))
    assert packing.read_pack(index.parent) is None


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_full_disk_leaves_the_data_usable(own_cache: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    written = 0
    add = packing.FileSink.add

    def full(self: packing.FileSink, image: np.ndarray, crops: np.ndarray) -> None:
        nonlocal written
        written += 1
        if written > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        add(self, image, crops)

    monkeypatch.setattr(packing.FileSink, "add", full)
    assert same(load(SOURCE, cache=False), load(SOURCE))
    assert not files_of(own_cache)


def test_a_cache_that_cannot_be_made_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file"))
    assert len(load(SOURCE)) == 4


def test_a_writer_that_was_overtaken_uses_what_it_has(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = load(SOURCE, cache=False)
    write_index = packing.write_index
    monkeypatch.setattr("harness.data.store.cache.write_index", lambda *a: (load_quietly(), write_index(*a)))
    entered = []

    def load_quietly() -> None:
        if not entered:
            entered.append(1)
            load(SOURCE)
            quicker.extend((file, file.stat().st_ino) for file in files_of(own_cache) if ".writing-" not in str(file))

    quicker: list[tuple[Path, int]] = []
    assert same(plain, load(SOURCE))
    assert len(files_of(own_cache)) == 3
    assert [(file, file.stat().st_ino) for file in files_of(own_cache)] == quicker, "nobody's good pack is removed"


def test_files_that_changed_under_a_damaged_pack_are_told(tmp_path: Path, own_cache: Path) -> None:
    source = write_kaggle(tmp_path, [kaggle_row("a", "1 2")])
    load(source)
    dataset = load(source)
    path = next(p for p in files_of(own_cache) if p.name == "pixels.bin")
    with path.open("r+b") as file:
        file.write(b"\1")
    write_kaggle(tmp_path, [kaggle_row("a", "1 3")])
    with pytest.raises(HarnessError, match="changed while they were in use"):
        dataset[0]
