"""From where cells lie to what a microscope shows of them, noise-free.

Cells have a thickness; each kind of microscope shows another function of it:

- phase contrast: the phase less its surroundings' mean, which makes halos and shading (Yin, Kanade, Chen 2012, Medical
  Image Analysis 16(5), section 3);
- brightfield out of focus: the Laplacian of the phase (Teague 1983, J. Opt. Soc. Am. 73(11), the transport of intensity
  for a uniform beam), and a little absorption;
- differential interference contrast: the derivative of the phase along one direction;
- fluorescence: the thickness times the concentration of the dye, and light from out of focus;
- stains: absorption by the law of Beer and Lambert, in each channel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from harness.data.painted.fields import Field, blurred, smooth_noise
from harness.data.painted.layout import SHIFT, Layer
from harness.data.painted.scene import Scene

STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], np.float32)
"""Absorption of red, green and blue by haematoxylin, eosin and DAB (Ruifrok and Johnston 2001, Anal. Quant. Cytol.
Histol. 23(4))."""


def show(scene: Scene, layers: Sequence[Layer], rng: np.random.Generator) -> NDArray[np.float32]:
    """(H, W), or (H, W, 3) for stains: the image without light, blur and noise of the camera, in units of its own."""
    size = layers[0].labels.shape[0], layers[0].labels.shape[1]
    thickness = np.sum([_thickness(scene, layer, rng) for layer in layers], axis=0, dtype=np.float32)
    thickness += scene.background * smooth_noise(size, scene.side * rng.uniform(0.05, 1.0), rng)
    thickness += _debris(scene, size, rng) + _fibres(scene, layers, rng)
    if scene.modality == "stained":
        return _stained(scene, thickness, size, rng)
    if scene.modality in ("bodies", "nuclei"):
        image = _fluorescence(scene, thickness, size, rng)
    elif scene.modality == "phase":
        image = scene.shade * blurred(thickness, max(1.0, scene.halo * scene.side)) - thickness
    elif scene.modality == "brightfield":
        reach = max(0.7, 0.3 * scene.halo * scene.side)
        image = cv2.Laplacian(blurred(thickness, reach), cv2.CV_32F) * reach**2 - rng.uniform(0, 0.5) * thickness
    else:
        image = _relief(thickness, rng)
    return np.asarray(-image if scene.inverted else image, np.float32)


def _thickness(scene: Scene, layer: Layer, rng: np.random.Generator) -> Field:
    """Of the cells of one layer: 1 for a cell of mean contrast."""
    labels, size = layer.labels, (layer.labels.shape[0], layer.labels.shape[1])
    radius = np.sqrt(np.bincount(labels.ravel(), minlength=layer.count + 1) / np.pi).astype(np.float32) + 0.5
    depth = cv2.distanceTransform(layer.outlined.astype(np.uint8), cv2.DIST_L2, 3) / radius[labels]
    slope = np.clip(depth / scene.edge, 0, 1)
    height = np.sqrt(slope * (2 - slope))
    contrast = np.exp(rng.normal(0, scene.variation, layer.count + 1)).astype(np.float32)
    bright = rng.random(layer.count + 1) < scene.bright
    contrast[bright] *= rng.uniform(-3, -1.2) if scene.modality == "phase" else rng.uniform(1.2, 2.5)
    grain = smooth_noise(size, scene.side * rng.uniform(0.03, 0.15), rng)
    if rng.random() < 0.5:
        # granules, in place of an even grain
        grain = np.asarray(2 * np.maximum(grain - 1, 0) - 0.15, np.float32)
    inside = height * (1 + scene.texture * grain)
    if scene.nucleus:
        reach = rng.uniform(0.3, 0.6)
        inside += scene.nucleus * np.clip((depth - reach) / 0.15, 0, 1) * (1 + 0.3 * scene.texture * grain)
    contrast[0] = 0
    return np.asarray(inside * contrast[labels], np.float32)


def _debris(scene: Scene, size: tuple[int, int], rng: np.random.Generator) -> Field:
    """Specks that are no cells, of three sizes; some are rings."""
    field = np.zeros(size, np.float32)
    cells = size[0] * size[1] / (4 * scene.side**2)
    for share in (0.04, 0.08, 0.14):
        number = int(rng.poisson(min(scene.debris * cells / 3, 500)))
        reach = max(0.6, share * scene.side)
        spots = np.zeros(size, np.float32)
        spots[rng.integers(size[0], size=number), rng.integers(size[1], size=number)] = rng.uniform(-0.8, 1.6, number)
        ring = rng.uniform(0, 1)
        # a Gaussian of that reach has its peak at 1 / (2 pi reach^2)
        narrow, wide = blurred(spots, reach), blurred(spots, 1.6 * reach)
        field += 2 * math.pi * reach**2 * (narrow - ring * wide)
    return field


def _fibres(scene: Scene, layers: Sequence[Layer], rng: np.random.Generator) -> Field:
    """Thin curved lines, such as neurites, that are no part of a cell's mask."""
    height, width = layers[0].labels.shape
    lines = np.zeros((height, width), np.uint8)
    for _ in range(min(int(rng.poisson(scene.fibres * height * width / (6 * scene.side**2))), 300)):
        steps = int(np.clip(rng.exponential(scene.side), 8, 300) / 2) + 2
        turning = np.cumsum(rng.normal(0, 0.08, steps)) + rng.normal(0, 0.02) * np.arange(steps)
        heading = rng.uniform(0, 2 * np.pi) + turning
        path = rng.uniform(0, (width, height)) + np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1) * 2, axis=0)
        fixed, grey = np.round(path * 2**SHIFT).astype(np.int32), int(rng.integers(60, 255))
        cv2.polylines(lines, [fixed], False, grey, 1, cv2.LINE_AA, SHIFT)
    soft = blurred(np.asarray(lines / 255, np.float32), 0.6)
    return np.asarray(soft * rng.uniform(0.3, 1.0), np.float32)


def _fluorescence(scene: Scene, thickness: Field, size: tuple[int, int], rng: np.random.Generator) -> Field:
    """Bright cells before a background that glows unevenly, and haze from out of focus."""
    haze = rng.uniform(0, 0.8) * blurred(thickness, scene.side * rng.uniform(0.3, 1.5))
    glow = rng.uniform(0, 0.25) * smooth_noise(size, scene.side * rng.uniform(1, 4), rng)
    return np.asarray(thickness + haze + glow, np.float32)


def _relief(thickness: Field, rng: np.random.Generator) -> Field:
    turn = rng.uniform(0, 2 * np.pi)
    soft = blurred(thickness, rng.uniform(0.6, 1.5))
    across, down = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    return np.asarray(math.cos(turn) * across + math.sin(turn) * down + rng.uniform(-0.3, 0.3) * soft, np.float32)


def _stained(scene: Scene, thickness: Field, size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Cells in one stain, in tissue of another. Inverted: bright cells on black, as in fluorescence shown in colour."""
    stain, other = STAINS[rng.permutation(3)[:2]] * np.exp(rng.normal(0, 0.3, (2, 3))).astype(np.float32)
    uneven = smooth_noise(size, scene.side * rng.uniform(0.3, 2), rng)
    tissue = np.maximum(0, rng.uniform(0, 0.4) + rng.uniform(0, 0.4) * uneven)
    absorbed = np.maximum(thickness, 0)[..., None] * stain * rng.uniform(0.5, 1.5) + tissue[..., None] * other
    return np.asarray(1 - np.exp(-absorbed) if scene.inverted else np.exp(-absorbed), np.float32)
