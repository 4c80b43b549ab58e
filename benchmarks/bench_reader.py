"""Training samples a second: decoded, cropped, flipped; ours beside detectron2's DatasetMapper on the same images.

    pytest benchmarks/bench_reader.py --benchmark-only -s

Both read the same images, take a 128-pixel window of each, mirror it at random and end with tensors of the window and
its cells, in one pass over all images. detectron2 reads its dataset dicts (compressed run lengths, or polygons) and the
image file each time, as it does in training. Cold is the first pass ever: ours reads the annotations and makes its
packed cache; detectron2 loads its dicts from a COCO file, whose making is not counted. Warm is a later pass.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from speed_rows import format_rows, row

from harness.contract import Task
from harness.data.sources import load
from harness.training.stream import TrainingStream
from methods.mask_rcnn import FlipOptions
from methods.mask_rcnn import augment as baseline
from methods.shared import supervision

CROP = 128
TARGET = 8.0
TASK = Task(("shsy5y", "astro", "cort"), (128.0,) * 3, (12.0,) * 3, CROP, 800, (520, 704))
RATES: dict[str, float] = {}


@pytest.fixture(scope="module")
def source() -> str:
    folder = Path(os.environ.get("HARNESS_DATA", Path(__file__).parents[2] / "shared" / "data")) / "sartorius"
    if not (folder / "train.csv").is_file():
        pytest.skip("needs Sartorius images; HARNESS_DATA names the folder that holds sartorius/")
    return f"sartorius:{folder}"


def ours(source: str) -> Callable[[], int]:
    dataset = load(source)
    indices = list(range(len(dataset)))
    stream = TrainingStream(dataset, indices, list(baseline.build(TASK, FlipOptions())), supervision.build(TASK), 4, 0)
    step = iter(range(10**9))

    def epoch() -> int:
        return sum(len(stream.batch(next(step))) for _ in range(len(dataset) // 4))

    return epoch


def theirs(
    source: str, mask_format: Literal["bitmask", "polygon"]
) -> tuple[Callable[[list[dict[str, Any]]], int], list[dict[str, Any]]]:
    """A pass of detectron2's mapper over dicts, and the dicts."""
    import stock_detectron2
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

    def epoch(dicts: list[dict[str, Any]]) -> int:
        return len([mapper(copy.deepcopy(entry)) for entry in dicts])

    dataset, folder = load(source), Path(source.partition(":")[2]) / "train"
    samples = [dataset[i] for i in range(len(dataset))]
    files = [folder / f"{sample.image_id}.png" for sample in samples]
    return epoch, stock_detectron2.dataset_dicts(samples, files, mask_format)


def write_coco(dicts: list[dict[str, Any]], path: Path) -> None:
    """The dicts as a file of annotations in COCO's form."""
    images, annotations = [], []
    for number, entry in enumerate(dicts):
        size = {side: entry[side] for side in ("height", "width")}
        images.append({"id": number, "file_name": Path(entry["file_name"]).name, **size})
        for cell in entry["annotations"]:
            x0, y0, x1, y1 = (float(edge) for edge in cell["bbox"])
            annotations.append({
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": cell["category_id"] + 1,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": 0,
                "segmentation": cell["segmentation"],
            })  # fmt: skip
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(TASK.classes)]
    whole = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(whole), encoding="utf-8")


def measure(benchmark: Any, name: str, work: Callable[[], int], rounds: int) -> None:
    samples = work()
    benchmark.pedantic(work, rounds=rounds, iterations=1, warmup_rounds=0)
    RATES[name] = samples / benchmark.stats.stats.median


def test_ours_warm(benchmark: Any, source: str) -> None:
    measure(benchmark, "warm", ours(source), 10)


def test_ours_cold(benchmark: Any, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = iter(range(100))

    def cold() -> int:
        monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / str(next(fresh))))
        return ours(source)()

    measure(benchmark, "cold", cold, 3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # thousands by pycocotools; to keep them would slow the peer
@pytest.mark.parametrize("mask_format", ["bitmask", "polygon"])
@pytest.mark.parametrize("start", ["warm", "cold"])
def test_detectron2(benchmark: Any, source: str, tmp_path: Path, start: str, mask_format: str) -> None:
    from detectron2.data.datasets import load_coco_json

    epoch, dicts = theirs(source, mask_format)
    folder, annotations = Path(source.partition(":")[2]) / "train", tmp_path / "annotations.json"
    write_coco(dicts, annotations)
    name = f"{start}, {mask_format}"
    measure(
        benchmark,
        name,
        lambda: epoch(load_coco_json(str(annotations), str(folder)) if start == "cold" else dicts),
        3,
    )
    if start not in RATES:
        return
    work = f"reader, {start} start, against DatasetMapper ({mask_format})"
    rows = [row(work, RATES[start], "samples/s", TARGET, RATES[name], more_is_better=True)]
    benchmark.extra_info["rows"] = rows
    print(format_rows(rows))
