"""Predictions and truths as pycocotools takes them."""

from __future__ import annotations

import contextlib
import io

from pycocotools.coco import COCO

from harness.contract import Predictions
from harness.evaluation.ground_truth import GroundTruth
from harness.masks.crops import CropMasks
from harness.masks.rle import to_rle

Images = list[tuple[Predictions, GroundTruth]]


def entries(masks: CropMasks, size: tuple[int, int]) -> list[dict]:
    """Annotations with run lengths and areas."""
    areas, rles = masks.areas().tolist(), to_rle(masks, *size)
    return [
        {"segmentation": {"size": list(size), "counts": counts}, "area": area, "bbox": [0, 0, 1, 1]}
        for counts, area in zip(rles, areas, strict=True)
    ]


def coco_sides(images: Images, classes: int) -> tuple[COCO, COCO]:
    """Truth and predictions."""
    truth, found = [], []
    for image_id, (predictions, image) in enumerate(images, start=1):
        for masks, labels, crowd in ((image.cells, image.labels, 0), (image.crowd, image.crowd_labels, 1)):
            for entry, label in zip(entries(masks, image.size), labels.tolist(), strict=True):
                truth.append({**entry, "iscrowd": crowd, "image_id": image_id, "category_id": label + 1})
        rows = zip(entries(predictions.masks, image.size), predictions.labels, predictions.scores, strict=True)
        for entry, label, score in rows:
            found.append({**entry, "iscrowd": 0, "image_id": image_id, "category_id": int(label) + 1, "score": score})
    sides = []
    with contextlib.redirect_stdout(io.StringIO()):
        for side in (truth, found):
            coco = COCO()
            coco.dataset = {
                "images": [{"id": i + 1, "height": 50, "width": 60} for i in range(len(images))],
                "categories": [{"id": c + 1, "name": str(c)} for c in range(classes)],
                "annotations": [{**entry, "id": number} for number, entry in enumerate(side, start=1)],
            }
            coco.createIndex()
            sides.append(coco)
    return sides[0], sides[1]
