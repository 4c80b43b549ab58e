"""Parts from a file, by a column or an expression, and from whole sources."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from harness.config.split_spec import SplitSpec
from harness.contract import Instances, Sample
from harness.data.combined import CombinedDataset
from harness.data.dataset import Dataset
from harness.data.splits import PARTS, Splits
from harness.data.splits.divide import divide, refuse_shared_images
from harness.errors import HarnessError
from harness.masks.crops import CropMasks

TYPES = ("astro", "cort")


def picture(number: int) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 255, (24, 24), np.uint8)


def made(
    *names: str, first: int = 0, classes: tuple[str, ...] = TYPES, label: int = 0, group: str | None = None
) -> Dataset:
    """Images with one cell each; every other one is of the second type."""
    masks = CropMasks.from_crops([(0, 0, 2, 2)], [np.ones((2, 2))])
    samples = [
        Sample(name, picture(first + i), Instances.of_masks(masks, np.asarray([label])), TYPES[i % 2], group)
        for i, name in enumerate(names)
    ]
    return Dataset.from_samples(samples, classes, "made")


def parts(dataset: Dataset, **spec: object) -> Splits:
    return divide(dataset, SplitSpec.model_validate(spec), calibration=0.2, validation=0.2)


IMAGES = ("a1", "a2", "b1", "b2", "c1", "c2")


# -------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    "text",
    [
        "image,part\na1,train\na2.png,train\nfolder/b1.tif,calibration\nb2,validation\nc1,\n",
        "image;part\na1;train\na2;train\nb1;calibration\nb2;validation\n",
    ],
)
def test_a_csv_file_says_the_parts_and_what_it_leaves_out_is_unused(text: str, tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text(text)
    found = parts(made(*IMAGES), file=str(tmp_path / "split.csv"))
    assert (found.train, found.calibration, found.validation) == (("a1", "a2"), ("b1",), ("b2",))


@pytest.mark.parametrize(
    "whole",
    [
        {"train": ["a1", "a2"], "calibration": ["b1"], "validation": ["b2"]},
        {"a1": "train", "a2": "train", "b1": "calibration", "b2": "validation"},
        [
            {"image": i, "part": p}
            for i, p in zip(IMAGES, ["train", "train", "calibration", "validation"], strict=False)
        ],
    ],
)
def test_a_json_file_says_the_parts(whole: object, tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text(json.dumps(whole))
    found = parts(made(*IMAGES), file=str(tmp_path / "split.json"))
    assert (found.train, found.calibration, found.validation) == (("a1", "a2"), ("b1",), ("b2",))


def test_calibration_is_drawn_from_train_where_the_file_names_none(tmp_path: Path) -> None:
    (tmp_path / "split.json").write_text(json.dumps({"train": ["a1", "a2", "b1", "b2"], "validation": ["c1", "c2"]}))
    found = parts(made(*IMAGES), file=str(tmp_path / "split.json"))
    assert found.validation == ("c1", "c2")
    assert len(found.calibration) == 1
    assert {*found.train, *found.calibration} == {"a1", "a2", "b1", "b2"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,part\na1,test\n", "line 2: no part 'test'; there are: train, calibration, validation"),
        ("image,part\na1,train\na1,validation\n", "line 3: image 'a1' is there twice"),
        ("image,part\na1,train\nd9,validation\n", "line 3: the data have no image 'd9'"),
        ("image,part\na1,train\n", "puts no image into validation"),
        ("name,part\na1,train\n", "has no column 'image'; write the header image,part"),
        ("image,part\n", "names no image"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(HarnessError) as told:
        parts(made(*IMAGES), file=str(tmp_path / "split.csv"))
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_one_picture_in_two_parts_is_refused_under_whatever_names(tmp_path: Path) -> None:
    dataset = Dataset.from_samples([*made("a", "b", "c"), *made("copy", first=1)], TYPES)
    with pytest.raises(HarnessError, match="'copy' in validation and 'b' in train are the same image"):
        refuse_shared_images(dataset, Splits.of(["a", "b"], ["c"], ["copy"]))
    refuse_shared_images(dataset, Splits.of(["b", "copy"], ["c"], ["a"]))


@pytest.mark.parametrize(
    "change",
    [lambda image: cv2.convertScaleAbs(image, alpha=1.1, beta=5), lambda image: cv2.resize(image, (48, 48))],
    ids=["brighter", "half the size"],
)
def test_a_changed_copy_is_refused_and_frames_of_a_film_are_told(change: Callable[..., NDArray]) -> None:
    rng = np.random.default_rng(0)
    scenes = [cv2.GaussianBlur(rng.normal(128, 300, (96, 96)), (0, 0), 4) for _ in range(3)]
    frames = [(scene + rng.normal(0, 4, scene.shape)).clip(0, 255).astype(np.uint8) for scene in (*scenes, scenes[0])]
    names = ("a", "b", "c", "next frame", "copy")
    pictures = [*frames, change(frames[0])]
    samples = [replace(sample, image=image) for sample, image in zip(made(*names), pictures, strict=True)]
    dataset = Dataset.from_samples(samples, TYPES)
    (told,) = refuse_shared_images(dataset, Splits.of(["a", "b"], ["c"], ["next frame"]))
    assert told.endswith("copies compressed with loss): 1 (next frame and a for one)")
    with pytest.raises(HarnessError, match="'copy' in validation and 'a' in train are the same image"):
        refuse_shared_images(dataset, Splits.of(["a", "b"], ["c"], ["copy"]))


# ------------------------------------------------------------------------------------------- groups and held out


def test_images_of_a_group_stay_together(tmp_path: Path) -> None:
    found = parts(made(*IMAGES), group_by=r"^(.)")
    for part in (found.train, found.calibration, found.validation):
        assert len(part) == 2
        assert len({image_id[0] for image_id in part}) == 1


def test_a_column_of_the_users_table_groups_and_holds_out(tmp_path: Path) -> None:
    table = tmp_path / "images.csv"
    table.write_text("image,plate\n" + "".join(f"{name},{i // 2}\n" for i, name in enumerate(IMAGES)))
    found = parts(made(*IMAGES), file=str(table), hold_out="plate=1")
    assert found.validation == ("b1", "b2")
    grouped = parts(made(*IMAGES), file=str(table), group_by="plate")
    assert {name[0] for name in grouped.validation} & {name[0] for name in grouped.train} == set()


def test_what_the_source_knows_besides_groups_and_holds_out() -> None:
    dataset = made(*IMAGES)
    dataset.columns = {"plate": ("p", "q", "p", "q", "p", None)}
    values = dict(zip(IMAGES, dataset.columns["plate"], strict=True))
    found = parts(dataset, group_by="plate")
    for value in ("p", "q"):
        assert len({part for part in PARTS for i in getattr(found, part) if values[i] == value}) == 1
    assert parts(dataset, hold_out="plate=q").validation == ("a2", "b2")
    both = CombinedDataset(dataset, [("validation", made("v", first=20))])
    assert both.columns == {"plate": ("p", "q", "p", "q", "p", None, None)}
    with pytest.raises(HarnessError, match="did you mean 'plate'"):
        parts(dataset, group_by="plates")


def test_a_cell_type_is_held_out() -> None:
    found = parts(made(*IMAGES), hold_out="cell_type=cort")
    assert found.validation == ("a2", "b2", "c2")
    assert {*found.train, *found.calibration} == {"a1", "b1", "c1"}


def test_groups_of_held_out_images_are_not_trained_on() -> None:
    found = parts(made(*IMAGES), hold_out="(.[12])=a1", group_by="^(.)")
    assert found.validation == ("a1",)
    assert "a2" not in (*found.train, *found.calibration)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"group_by": "cell_typ"}, "--group-by: no column 'cell_typ'; did you mean 'cell_type'"),
        ({"group_by": "("}, "is no regular expression"),
        ({"group_by": "(z)"}, "matches no image, such as 'a1'"),
        ({"hold_out": "cell_type"}, "type NAME=VALUE, such as cell_type=cort"),
        ({"hold_out": "cell_type=cor"}, "no image has 'cor'"),
        ({"hold_out": "cell_type=cort,astro"}, "too few for training and calibration"),
    ],
)
def test_what_is_wrong_with_groups_is_said(spec: dict[str, str], said: str) -> None:
    with pytest.raises(HarnessError) as told:
        parts(made(*IMAGES), **spec)
    assert said in str(told.value)


# ------------------------------------------------------------------------------------------------ whole sources


def test_whole_sources_are_their_parts_and_calibration_is_drawn_from_the_first() -> None:
    train, validation = made("a", "b", "c"), made("d", "e", first=5)
    found = parts(CombinedDataset(train, [("validation", validation)]))
    assert found.validation == ("d", "e")
    assert {*found.train, *found.calibration} == {"a", "b", "c"}
    all_given = CombinedDataset(train, [("calibration", made("x", first=9)), ("validation", validation)])
    found = parts(all_given)
    assert (found.train, found.calibration, found.validation) == (("a", "b", "c"), ("x",), ("d", "e"))
    assert all_given.sample("e").image.tolist() == validation.sample("e").image.tolist()
    assert (all_given.cells, len(all_given.cells_per_image)) == (6, 6)


def test_classes_are_matched_by_name_and_never_by_number() -> None:
    train = made("a", "b", classes=("astro", "cort"), label=1)
    other = made("c", first=5, classes=("cort", "astro"), label=0)
    combined = CombinedDataset(train, [("validation", other)])
    assert combined.classes == ("astro", "cort")
    assert combined.sample("c").instances.labels.tolist() == [1]
    with pytest.raises(HarnessError, match="cells of the class 'neuron', which made does not have"):
        CombinedDataset(train, [("validation", made("c", first=5, classes=("neuron",)))])


def test_a_compressed_copy_under_the_same_name_is_refused_and_another_image_of_that_name_is_kept() -> None:
    train = made("a", "b")
    other = made("a", first=7)
    combined = CombinedDataset(train, [("validation", other)])
    assert combined.ids == ("a", "b", "validation/a")
    assert combined.sample("validation/a").image_id == "validation/a"
    noisy = np.clip(picture(0).astype(int) + 3, 0, 255).astype(np.uint8)
    copy = Dataset.from_samples([Sample("a", noisy, other[0].instances)], TYPES, "copy")
    with pytest.raises(HarnessError, match=r"the image 'a' is in train \(made\) and in validation \(copy\)"):
        CombinedDataset(train, [("validation", copy)])
