"""Training samples a second: decoded, cropped, flipped; ours beside detectron2's DatasetMapper on the same images.

    pytest benchmarks/bench_reader.py --benchmark-only -s

Both read the same images, take a 128-pixel window of each, mirror it at random and end with tensors of the window and
its cells. detectron2 reads its dataset dicts (compressed run lengths, or polygons) and the image file each time, as it
does in training. Ours is measured cold (the packed cache is made first, and its time counted) and warm.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.augment import baseline
from harness.contract import Task
from harness.data.sources import load
from harness.engine.stream import TrainingStream
from harness.masks import to_rle
from methods.nets import supervision

CROP, IMAGES = 128, 24
TASK = Task(("shsy5y", "astro", "cort"), (128.0,) * 3, (12.0,) * 3, CROP, 800, (520, 704))
SECONDS: dict[str, float] = {}


@pytest.fixture(scope="module")
def source() -> str:
    folder = Path(os.environ.get("HARNESS_DATA", Path(__file__).parents[2] / "shared" / "data")) / "sartorius"
    if not (folder / "train.csv").is_file():
        pytest.skip("needs Sartorius images; HARNESS_DATA names the folder that holds sartorius/")
    return f"sartorius:{folder}"


def ours(source: str) -> Callable[[], int]:
    dataset = load(source)
    stream = TrainingStream(dataset, list(range(IMAGES)), list(baseline.build(TASK)), supervision.build(TASK), 4, 0)
    step = iter(range(10**9))

    def epoch() -> int:
        return sum(len(stream.batch(next(step))) for _ in range(IMAGES // 4))

    return epoch


def theirs(source: str, mask_format: str) -> Callable[[], int]:
    from detectron2.data import DatasetMapper
    from detectron2.data import transforms as T

    augmentations = [T.RandomCrop("absolute", (CROP, CROP)), T.RandomFlip()]
    mapper = DatasetMapper(
        is_train=True,
        augmentations=augmentations,
        image_format="BGR",
        use_instance_mask=True,
        instance_mask_format=mask_format,
    )
    dicts = dataset_dicts(source, mask_format)

    def epoch() -> int:
        return sum(mapper(copy.deepcopy(entry)) is not None for entry in dicts)

    return epoch


def dataset_dicts(source: str, mask_format: str) -> list[dict[str, Any]]:
    """detectron2's standard form of the same images and cells."""
    import cv2
    from detectron2.structures import BoxMode

    dataset, folder = load(source), Path(source.partition(":")[2]) / "train"
    entries = []
    for i in range(IMAGES):
        sample = dataset[i]
        masks = sample.instances.masks
        assert masks is not None
        height, width = sample.size
        annotations = []
        runs = to_rle(masks, height, width)
        for k, (box, crop) in enumerate(zip(masks.boxes.tolist(), masks, strict=True)):
            segmentation: Any = {"size": [height, width], "counts": runs[k].encode()}
            if mask_format == "polygon":
                outlines, _ = cv2.findContours(np.pad(crop, 1), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
                offset = np.array([box[0] - 1, box[1] - 1])
                segmentation = [(o[:, 0] + offset).ravel().tolist() for o in outlines if len(o) >= 3]
            if segmentation:
                annotations.append(
                    {
                        "bbox": box,
                        "bbox_mode": BoxMode.XYXY_ABS,
                        "category_id": int(sample.instances.labels[k]),
                        "segmentation": segmentation,
                    }
                )
        entries.append(
            {
                "file_name": str(folder / f"{sample.image_id}.png"),
                "image_id": sample.image_id,
                "height": height,
                "width": width,
                "annotations": annotations,
            }
        )
    return entries


def record(benchmark: Any, name: str, work: Callable[[], int], rounds: int) -> None:
    assert work() == IMAGES
    benchmark.pedantic(work, rounds=rounds, iterations=1, warmup_rounds=0)
    SECONDS[name] = benchmark.stats.stats.median / IMAGES
    mine = SECONDS.get("ours, warm")
    if mine:
        ratio = f"{SECONDS[name] / mine:.1f}x ours" if not name.startswith("ours") else ""
        print(f"\n{name}: {1 / SECONDS[name]:.0f} samples/s {ratio}")


def test_ours_warm(benchmark: Any, source: str) -> None:
    record(benchmark, "ours, warm", ours(source), 10)


def test_ours_cold(benchmark: Any, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first epoch ever: all 200 images are read and packed, and one pass over the 24 is made."""
    fresh = iter(range(100))

    def cold() -> int:
        monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / str(next(fresh))))
        return ours(source)()

    record(benchmark, "ours, cold (packs 200 images first)", cold, 3)


@pytest.mark.parametrize("mask_format", ["bitmask", "polygon"])
def test_detectron2(benchmark: Any, source: str, mask_format: str) -> None:
    record(benchmark, f"detectron2, {mask_format}", theirs(source, mask_format), 3)
