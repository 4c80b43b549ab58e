"""GeoJSON as QuPath imports and exports it: one file an image, one feature a cell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.fileio import make_folder, write_text_atomic
from harness.inference.formats.overlays import COLOURS
from harness.inference.formats.writer import PredictedImage
from harness.masks.outlines import pixel_outlines


class GeoJson:
    """`FOLDER/<image id>.geojson`: outlines along the edges of pixels, in pixels of the image, as detections."""

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self._folder, self._classes = folder, classes
        self.written: set[str] = set()
        make_folder(folder)

    def add(self, predicted: PredictedImage) -> None:
        name = f"{predicted.image_id}.geojson"
        self.written.add(name)
        features = [self._feature(predicted, i) for i in range(len(predicted.predictions))]
        text = json.dumps({"type": "FeatureCollection", "features": features}, separators=(",", ":"), allow_nan=False)
        write_text_atomic(self._folder / name, text)

    def finish(self) -> Path:
        return self._folder

    def _feature(self, predicted: PredictedImage, i: int) -> dict[str, Any]:
        found = predicted.predictions
        x0, y0 = found.masks.boxes[i, :2].tolist()
        pieces = [
            [[[x + x0, y + y0] for x, y in ring] for ring in piece] for piece in pixel_outlines(found.masks.crop(i))
        ]
        one = len(pieces) == 1
        label = int(found.labels[i])
        return {
            "type": "Feature",
            "geometry": {
                "type": "Polygon" if one else "MultiPolygon",
                "coordinates": pieces[0] if one else pieces,
            },
            "properties": {
                "objectType": "detection",
                "classification": {"name": self._classes[label], "color": COLOURS[label % len(COLOURS)].tolist()},
                "measurements": {"score": float(str(found.scores[i]))},
            },
        }
