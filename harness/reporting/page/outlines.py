"""Images and outlines of masks, small enough to lie in a page by the thousand."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.masks.crops import CropMasks

Outline = list[NDArray[np.int16]]
"""The rings of one mask, its holes among them: (P, 2) x y each, in units."""

UNITS = 4
"""Units of a pixel, of the image as it is shown: coordinates are in quarters."""

_SLACK = 0.4
"""Largest simplification error in pixels. It halves the points without a visible difference."""

_TAILS = (0.2, 99.8)
"""Percentiles of the grey values that become black and white."""

_QUALITY = 80


def outlines(masks: CropMasks, scale: float = 1.0) -> list[Outline]:
    """The outline of each mask, through the middle of its outermost pixels, on an image made `scale` times as large."""
    import cv2

    slack = _SLACK / scale
    found = []
    for box, crop in zip(masks.boxes, masks, strict=True):
        rings, _ = cv2.findContours(np.ascontiguousarray(crop), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        corner = box[:2] + 0.5
        found.append(
            [
                np.rint((cv2.approxPolyDP(ring, slack, True)[:, 0] + corner) * (scale * UNITS)).astype(np.int16)
                for ring in rings
            ]
        )
    return found


def pack(drawn: Sequence[Outline]) -> str:
    """Base64 of little-endian int16: for each ring its number of points, then x y x y."""
    parts = [part for outline in drawn for ring in outline for part in ([len(ring)], ring.ravel())]
    flat = np.concatenate([np.asarray(part, "<i2") for part in parts]) if parts else np.zeros(0, "<i2")
    return base64.b64encode(flat.astype("<i2").tobytes()).decode("ascii")


def image_data_uri(image: NDArray[np.uint8], scale: float = 1.0) -> tuple[int, int, str]:
    """Width and height as shown, and a data URI (WebP) of the image with its grey values stretched."""
    from PIL import Image

    low, high = np.percentile(image, _TAILS)
    stretched = np.clip((image.astype(np.float32) - low) * (255 / max(high - low, 1)), 0, 255).astype(np.uint8)
    picture = Image.fromarray(stretched)
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    data = io.BytesIO()
    picture.save(data, "WEBP", quality=_QUALITY)
    return picture.width, picture.height, f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
