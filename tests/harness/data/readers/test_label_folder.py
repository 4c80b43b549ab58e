from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from harness.data.pairing import image_stem
from harness.data.sources import check, load
from harness.errors import HarnessError
from harness.platform.files import ignores_case

IMAGE = np.arange(120, dtype=np.uint8).reshape(10, 12)
LABELS = np.zeros((10, 12), np.uint16)
LABELS[1:4, 1:5] = 3
LABELS[6:9, 2:9] = 70
LABELS[7, 4] = 0


def write(folder: Path, images: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> str:
    for name, table in (("images", images), ("labels", labels)):
        (folder / name).mkdir(parents=True)
        for file_name, pixels in table.items():
            tifffile.imwrite(folder / name / file_name, pixels)
    return f"folder:{folder / 'images'},{folder / 'labels'}"


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("x.tif", "x.tif"),
        ("x.tif", "x_masks.tif"),
        ("x.tif", "x_cp_masks.tif"),
        ("x.tif", "x_label.tiff"),
        ("x_img.tif", "x_masks.tif"),
        ("t007.tif", "man_seg007.tif"),
        ("x.ome.tif", "x.ome.tif"),
        ("x.ome.tif", "x_masks.tif"),
        ("x.tif", "X_Masks.TIF"),
        ("img_0.tif", "mask_0.tif"),
        ("image-0.tif", "labels_0.tif"),
        ("0.tif", "mask_0.tif"),
        ("img_0.tif", "0.tif"),
        ("0_img.tif", "seg_0.tif"),
        ("x.tif", "x.tif_mask.tif"),
        ("x.tif", "x.png_masks.tif"),
        ("Zelle \u00e4.tif", "Zelle a\u0308_masks.tif"),
    ],
)
def test_pairs_of_the_usual_names_are_found(tmp_path: Path, image: str, label: str) -> None:
    dataset = load(write(tmp_path, {image: IMAGE}, {label: LABELS}))
    sample = dataset[0]
    assert dataset.ids == (image.removesuffix(".tif").removesuffix(".ome"),)
    assert dataset.classes == ("cell",)
    assert sample.instances.boxes.tolist() == [[1, 1, 5, 4], [2, 6, 9, 9]]
    assert sample.instances.masks is not None
    assert sample.instances.masks.areas().tolist() == [12, 20]


def test_images_and_labels_may_share_a_folder(tmp_path: Path) -> None:
    for name, pixels in (("x.tif", IMAGE), ("x_masks.tif", LABELS), ("y.tif", IMAGE)):
        tifffile.imwrite(tmp_path / name, pixels)
    dataset = load(f"folder:{tmp_path},{tmp_path}")
    assert dataset.ids == ("x",)
    assert [p.name for p in dataset.unlabelled] == ["y.tif"]
    assert dataset.notes == ("no labels, taken as unlabelled: 1 images",)


def test_copies_of_images_beside_labels_are_not_taken_for_labels(tmp_path: Path) -> None:
    files = {"x.tif": IMAGE, "x_cp_masks.tif": LABELS}
    dataset = load(write(tmp_path, {"x.tif": IMAGE}, files))
    assert dataset.cells == 2
    assert dataset.notes == ("beside a file with a label ending, taken for copies of images and left out: 1 files",)


def test_pictures_that_cellpose_writes_beside_images_are_neither_images_nor_labels(tmp_path: Path) -> None:
    for name, pixels in (("x.tif", IMAGE), ("x_cp_masks.tif", LABELS), ("x_flows.tif", IMAGE)):
        tifffile.imwrite(tmp_path / name, pixels)
    dataset = load(f"folder:{tmp_path},{tmp_path}")
    assert (dataset.ids, dataset.cells, dataset.unlabelled) == (("x",), 2, ())
    assert dataset.notes == ("pictures that cellpose wrote beside images, left out: 1 files",)
    apart = load(write(tmp_path / "apart", {"x.tif": IMAGE}, {"x_cp_masks.tif": LABELS, "x_cp_output.tif": IMAGE}))
    assert (apart.cells, apart.notes) == (2, dataset.notes)


def test_folders_without_images_or_labels_are_told(tmp_path: Path) -> None:
    write(tmp_path, {"x.tif": IMAGE}, {"x.tif": LABELS})
    (tmp_path / "empty").mkdir()
    with pytest.raises(HarnessError, match=r"empty holds no image \(.png"):
        load(f"folder:{tmp_path / 'empty'},{tmp_path / 'labels'}")
    with pytest.raises(HarnessError, match=r"empty holds no label image \(.png"):
        load(f"folder:{tmp_path / 'images'},{tmp_path / 'empty'}")


def test_names_that_differ_in_case_alone_stay_apart_where_both_are_there(tmp_path: Path) -> None:
    if ignores_case(tmp_path):
        pytest.skip("the disk does not tell them apart")
    dataset = load(write(tmp_path, {"a.tif": IMAGE, "A.tif": IMAGE}, {"a.tif": LABELS, "A.tif": LABELS * 0}))
    assert (dataset.ids, dataset.cells_per_image) == (("A", "a"), (0, 2))


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("one/images/x.tif", "one/masks/x.tif"),
        ("images/one/x.tif", "labels/one/x.tif"),
        ("one/x.tif", "one/x_masks.tif"),
    ],
)
def test_nested_folders(tmp_path: Path, image: str, label: str) -> None:
    for name, pixels in ((image, IMAGE), (label, LABELS), ("two/x.tif", IMAGE)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(tmp_path / name, pixels)
    dataset = load(f"nested:{tmp_path},{tmp_path}")
    assert (dataset.ids, dataset.cells) == (("one/x",), 2)
    assert [path.name for path in dataset.unlabelled] == ["x.tif"]


def test_an_image_without_cells_is_one(tmp_path: Path) -> None:
    source = write(tmp_path, {"x.tif": IMAGE, "y.tif": IMAGE}, {"x.tif": LABELS, "y.tif": LABELS * 0})
    dataset = load(source)
    assert dataset.cell_types == ("cell", None)
    assert dataset.cells_per_image == (2, 0)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        ({"x.tif": IMAGE}, {"x.tif": LABELS, "z.tif": LABELS}, "z.tif: there is no image for these labels"),
        (
            {"x.tif": IMAGE},
            {"x_masks.tif": LABELS, "x_seg.tif": LABELS},
            "x_seg.tif: x.tif has labels already, x_masks.tif",
        ),
        ({"x.tif": IMAGE, "x.tiff": IMAGE}, {"x.tif": LABELS}, "x.tiff: another image, x.tif, has the same name"),
        ({"x.tif": IMAGE, "y.tif": IMAGE}, {"x.tif": LABELS, "y.tif": LABELS[:-1]}, "y.tif: the image is 9x12"),
        (
            {"x.tif": IMAGE, "y.tif": IMAGE},
            {"x.tif": LABELS, "y.tif": LABELS / 7},
            "y.tif: a label image holds whole",
        ),
    ],
)
def test_each_fault_is_one_line_with_its_file(tmp_path: Path, images: dict, labels: dict, words: str) -> None:
    source = write(tmp_path, images, labels)
    problems = check(source).problems
    assert len(problems) == 1
    assert problems[0].startswith(words)
    with pytest.raises(HarnessError):
        load(source)
    kept = load(source, skip_bad=True)
    assert (kept.ids, kept.skipped_bad) == (("x",), 1)


def test_noise_is_no_label_image(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 5000, (300, 300)).astype(np.uint16)
    source = write(tmp_path, {"x.tif": np.zeros((300, 300), np.uint8)}, {"x.tif": noise})
    with pytest.raises(HarnessError, match="scattered over the whole image"):
        load(source)


def test_many_small_labels_are_fine(tmp_path: Path) -> None:
    labels = np.kron(np.arange(900).reshape(30, 30), np.ones((10, 10), int)).astype(np.uint16)
    dataset = load(write(tmp_path, {"x.tif": np.zeros((300, 300), np.uint8)}, {"x.tif": labels}))
    assert dataset.cells == 899


def test_stems() -> None:
    assert [image_stem(s) for s in ("a", "a_masks", "a_masks_masks", "man_seg01", "mask")] == [
        "a",
        "a",
        "a_masks",
        "t01",
        "mask",
    ]


def test_a_file_for_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(HarnessError, match="f is not a folder"):
        load(f"folder:{tmp_path},{tmp_path / 'f'}")


@pytest.mark.parametrize("ending", ["-labels", " mask", "_instances", "-Label"])
def test_more_endings_of_labels(tmp_path: Path, ending: str) -> None:
    for name in ("i", "l"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "i" / "x.png"), np.arange(120, dtype=np.uint8).reshape(10, 12))
    labels = np.zeros((10, 12), np.uint8)
    labels[2:5, 3:7] = 1
    cv2.imwrite(str(tmp_path / "l" / f"x{ending}.png"), labels)
    assert load(f"folder:{tmp_path / 'i'},{tmp_path / 'l'}").ids == ("x",)


def test_beginnings_tell_labels_from_images_in_one_folder(tmp_path: Path) -> None:
    for k in range(2):
        tifffile.imwrite(tmp_path / f"img_{k}.tif", IMAGE + k)
        tifffile.imwrite(tmp_path / f"mask_{k}.tif", LABELS)
    tifffile.imwrite(tmp_path / "label-free culture.tif", IMAGE)
    dataset = load(f"folder:{tmp_path},{tmp_path}")
    assert (dataset.ids, dataset.cells) == (("img_0", "img_1"), 4)
    assert [path.name for path in dataset.unlabelled] == ["label-free culture.tif"]


def test_labels_of_nan_are_background(tmp_path: Path) -> None:
    labels = np.where(LABELS > 0, LABELS, np.nan).astype(np.float32)
    dataset = load(write(tmp_path, {"x.tif": IMAGE}, {"x.tif": labels}))
    assert dataset[0].instances.boxes.tolist() == [[1, 1, 5, 4], [2, 6, 9, 9]]
    assert dataset.notes == ("labels of NaN, taken as background: 1 image",)


@pytest.mark.parametrize(("samples", "each", "groups"), [(6, 2, 6), (5, 2, 0), (7, 1, 0)])
def test_nested_folders_are_groups_where_they_are_samples(tmp_path: Path, samples: int, each: int, groups: int) -> None:
    rng = np.random.default_rng(0)
    for sample in range(samples):
        for kind in ("images", "masks"):
            (tmp_path / f"s{sample}" / kind).mkdir(parents=True)
            for k in range(each):
                pixels = LABELS if kind == "masks" else rng.integers(0, 256, (10, 12), np.uint8)
                tifffile.imwrite(tmp_path / f"s{sample}" / kind / f"x{k}.tif", pixels)
    dataset = load(f"nested:{tmp_path},{tmp_path}", cache=False)
    assert len({group for group in dataset.groups if group is not None}) == groups
    assert any(note.startswith("subfolders are groups") for note in dataset.notes) == (groups > 0)


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("x.png", "x_Object Identities.png"),
        ("x.tif", "x-lbl.tif"),
        ("x.tif", "LblImg_x.tif"),
        ("x.tif", "x_feature_0.tif"),
        ("img007.png", "mask007.png"),
        ("im7.png", "label7.png"),
        ("7.png", "gt7.png"),
    ],
)
def test_names_that_other_tools_give_are_found(tmp_path: Path, image: str, label: str) -> None:
    assert load(write(tmp_path, {image: IMAGE}, {label: LABELS})).cells == 2


def test_folders_that_systems_leave_are_not_looked_into(tmp_path: Path) -> None:
    source = write(tmp_path, {"x.png": IMAGE}, {"x.png": LABELS}).replace("folder:", "nested:")
    for name, of in ((".ipynb_checkpoints/x-checkpoint.png", "images"), ("@eaDir/x.png/THUMB.png", "images")):
        path = tmp_path / of / name
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), IMAGE)
    assert load(source).unlabelled == ()


def test_a_folder_of_other_files_says_what_it_holds(tmp_path: Path) -> None:
    source = write(tmp_path, {"x.png": IMAGE}, {"x.png": LABELS})
    (tmp_path / "labels" / "x.png").rename(tmp_path / "labels" / "x.npy")
    with pytest.raises(HarnessError, match=r"it has 1 files \*.npy; images are read as PNG, TIFF, JPEG or BMP"):
        load(source)


def test_labels_of_minus_one_are_refused_with_what_they_mean(tmp_path: Path) -> None:
    labels = LABELS.astype(np.int32)
    labels[0, 0] = -1
    (problem,) = check(write(tmp_path, {"x.png": IMAGE}, {"x.tif": labels})).problems
    assert "StarDist's -1, not annotated, is not read" in problem
