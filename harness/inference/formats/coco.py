"""One COCO file for all images. pycocotools reads it, and `coco:FILE,IMAGES_DIR` trains on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.fileio import make_folder, write_text_atomic
from harness.inference.formats.writer import PredictedImage
from harness.masks.rle import to_rle


class CocoFile:
    """images, categories and annotations. Every annotation has a score, so that it is a COCO result as well."""

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        self._path = path
        self._categories = [{"id": label + 1, "name": name} for label, name in enumerate(classes)]
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        make_folder(path.parent)

    def add(self, predicted: PredictedImage) -> None:
        found = predicted.predictions
        height, width = found.size
        number = len(self._images) + 1
        self._images.append({"id": number, "file_name": predicted.file_name, "height": height, "width": width})
        counts = to_rle(found.masks, height, width)
        for i, (x0, y0, x1, y1) in enumerate(found.masks.boxes.tolist()):
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": number,
                    "category_id": int(found.labels[i]) + 1,
                    "segmentation": {"size": [height, width], "counts": counts[i]},
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": int(found.masks.crop(i).sum()),
                    "iscrowd": 0,
                    # the shortest digits that give the same float32
                    "score": float(str(found.scores[i])),
                }
            )

    def finish(self) -> Path:
        whole = {"images": self._images, "categories": self._categories, "annotations": self._annotations}
        write_text_atomic(self._path, json.dumps(whole, allow_nan=False))
        return self._path
