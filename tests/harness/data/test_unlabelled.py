"""Unlabelled images stream like labelled ones, and none is near an image that is scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.config.split_spec import SplitSpec
from harness.contract import Instances, Sample
from harness.data.dataset import Dataset
from harness.data.readers.sartorius import Sartorius
from harness.data.source import SourceLocation
from harness.data.splits import Splits
from harness.data.unlabelled import choose_unlabelled, load_unlabelled
from harness.errors import HarnessError
from harness.masks.crops import CropMasks

ONE = CropMasks.from_crops([(0, 0, 2, 2)], [np.ones((2, 2))])
WELL = "shsy5y[diff]_{}_Vessel-361_Ph_{}"


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (60, 64)).astype(np.uint8)


def labelled(groups: dict[str, str | None]) -> tuple[Dataset, Splits]:
    """Images with one cell each; the last is for validation, the one before for calibration."""
    cells = Instances.of_masks(ONE, np.zeros(1, np.int64))
    samples = [Sample(name, picture(i), cells, "a", group) for i, (name, group) in enumerate(groups.items())]
    dataset = Dataset.from_samples(samples, ("x",))
    return dataset, Splits.of(dataset.ids[:-2], dataset.ids[-2:-1], dataset.ids[-1:])


def written(folder: Path, pictures: dict[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def chosen(folder: Path, dataset: Dataset, splits: Splits, **spec: str) -> tuple[str, ...]:
    return choose_unlabelled(dataset, splits, load_unlabelled(dataset, [str(folder)]), SplitSpec(**spec)).ids  # type: ignore[arg-type]


def test_a_folder_streams_as_images_without_cells(tmp_path: Path) -> None:
    dataset, splits = labelled(dict.fromkeys("abc"))
    folder = written(tmp_path / "more", {"u1": picture(10), "u2": picture(11)})
    images = choose_unlabelled(dataset, splits, load_unlabelled(dataset, [str(folder)]), SplitSpec())
    assert images.ids == ("u1", "u2")
    assert np.array_equal(images[1].image, picture(11))
    assert (len(images[0].instances), images[0].labelled, images[0].cell_type) == (0, False, None)
    again = choose_unlabelled(dataset, splits, load_unlabelled(dataset, [str(folder)]), SplitSpec())
    assert again.fingerprint == images.fingerprint
    written(folder, {"u2": picture(12)})
    changed = choose_unlabelled(dataset, splits, load_unlabelled(dataset, [str(folder)]), SplitSpec())
    assert changed.fingerprint != images.fingerprint


def test_hidden_labels_are_not_seen(tmp_path: Path) -> None:
    dataset, splits = labelled(dict.fromkeys("abcde"))
    hidden = Splits(splits.train[:1], splits.calibration, splits.validation, "", splits.train[1:])
    images = choose_unlabelled(dataset, hidden, (), SplitSpec())
    assert images.ids == ("b", "c")
    assert len(images[0].instances) == 0
    assert images[0].cell_type is None


def test_copies_of_labelled_images_are_left_out(tmp_path: Path) -> None:
    dataset, splits = labelled(dict.fromkeys("abcd"))
    anew = Image.fromarray(picture(3)).resize((128, 120))
    folder = written(tmp_path, {"new": picture(9), "train": picture(0), "scored": np.asarray(anew)})
    assert chosen(folder, dataset, splits) == ("new",)


def test_groups_of_scored_images_are_left_out_by_the_names_of_the_files(tmp_path: Path) -> None:
    dataset, splits = labelled(dict.fromkeys(("p1_a", "p2_a", "p3_a", "p4_a")))
    folder = written(tmp_path, {name: picture(20 + i) for i, name in enumerate(("p1_b", "p3_b", "p4_b", "other"))})
    assert chosen(folder, dataset, splits) == ("other", "p1_b", "p3_b", "p4_b")
    assert chosen(folder, dataset, splits, group_by="(p[0-9])_") == ("other", "p1_b")
    assert chosen(folder, dataset, splits, hold_out="(p[0-9])_=p4") == ("other", "p1_b")


def test_wells_of_scored_images_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, splits = labelled({"a": "Vessel-361 A1", "b": "Vessel-361 A1", "c": "Vessel-361 B2", "d": "Vessel-361 C3"})
    folder = tmp_path / "data"
    names = [WELL.format(well, 1) for well in ("A1-2", "B2-1", "C3-9", "D4-1")]
    files = written(folder / "train_semi_supervised", {name: picture(30 + i) for i, name in enumerate(names)})
    source = Sartorius(SourceLocation(f"sartorius:{folder}", "", (folder,)))
    assert [source.group_of(path) for path in sorted(files.iterdir())][1] == "Vessel-361 B2"
    dataset.source, dataset.unlabelled = f"sartorius:{folder}", source.unlabelled()
    images = choose_unlabelled(dataset, splits, load_unlabelled(dataset, []), SplitSpec())
    assert images.ids == (names[0], names[3])
    assert images.left_out == 2


def test_labels_of_a_further_source_are_not_read(tmp_path: Path) -> None:
    dataset, splits = labelled(dict.fromkeys("abc"))
    others = load_unlabelled(dataset, ["synthetic:images=2,size=48"])
    images = choose_unlabelled(dataset, splits, others, SplitSpec())
    assert others[0].cells > 0
    assert [len(images[i].instances) for i in range(len(images))] == [0, 0]


def test_what_is_no_image_is_told_and_can_be_left_out(tmp_path: Path) -> None:
    dataset, _ = labelled(dict.fromkeys("abc"))
    folder = written(tmp_path, {"good": picture(5)})
    (folder / "bad.png").write_bytes(b"no image")
    with pytest.raises(HarnessError, match=r"bad.png: .* \(--skip-bad leaves it out\)"):
        load_unlabelled(dataset, [str(folder)])
    assert load_unlabelled(dataset, [str(folder)], skip_bad=True)[0].ids == ("good",)
    (tmp_path / "empty").mkdir()
    with pytest.raises(HarnessError, match="the folder holds no image"):
        load_unlabelled(dataset, [str(tmp_path / "empty")])
