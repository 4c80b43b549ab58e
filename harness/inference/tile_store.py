"""Finished tiles on disk, so that an interrupted prediction goes on where it was."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from harness.contract import Predictions
from harness.fileio import make_folder, write_bytes_atomic, write_json_atomic
from harness.inference.grid import Box
from harness.masks.crops import CropMasks, crop_offsets

FACTS = "tiles.json"


class TileFolder:
    """One file for each finished tile of one image. Tiles of other work are removed when the folder is opened."""

    def __init__(self, folder: Path, **facts: Any) -> None:
        """facts: everything that decides what is found on a tile, as JSON values."""
        self._folder = folder
        text = json.dumps(facts, sort_keys=True, default=str)
        wanted = {"work": hashlib.sha256(text.encode()).hexdigest()}
        try:
            there = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            there = None
        if there != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            make_folder(folder)
            write_json_atomic(folder / FACTS, wanted)

    def load(self, core: Box, size: tuple[int, int]) -> Predictions | None:
        """The predictions of a tile; None where it is not done or its file is damaged."""
        path = self._path(core)
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as stored:
                boxes = stored["boxes"].astype(np.int32)
                offsets = crop_offsets(boxes)
                pixels = np.unpackbits(stored["pixels"], count=int(offsets[-1]))
                return Predictions(
                    size,
                    CropMasks(boxes, pixels, offsets),
                    stored["scores"].astype(np.float32),
                    stored["labels"].astype(np.int64),
                )
        except (OSError, ValueError, KeyError):
            return None

    def save(self, core: Box, found: Predictions) -> None:
        """Write a tile's predictions. Raises StorageError."""
        buffer = io.BytesIO()
        packed = np.packbits(found.masks.pixels)
        np.savez(buffer, boxes=found.masks.boxes, pixels=packed, scores=found.scores, labels=found.labels)
        write_bytes_atomic(self._path(core), buffer.getbuffer())

    def remove(self) -> None:
        """Remove all tiles, once the image is done."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, core: Box) -> Path:
        return self._folder / f"{core[0]}-{core[1]}-{core[2]}-{core[3]}.npz"
