"""What is random in a painted image: every image is another microscope, another culture, another camera.

Nothing here is fitted to a data set. Learning from images whose every property is random, so that a real image is one
more variation, is domain randomisation (Tobin et al. 2017, arXiv 1703.06907).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from harness.data.painted.outlines import FAMILIES

MODALITIES = {"phase": 0.38, "brightfield": 0.11, "dic": 0.06, "bodies": 0.13, "nuclei": 0.22, "stained": 0.1}
"""Share of each kind of image: phase contrast, brightfield, differential interference contrast, fluorescence of bodies
and of nuclei, and stained cells in colour."""

EFFECTS = ("sheets", "overlaps", "holes", "debris", "fibres", "light", "defocus", "noise", "texture", "sizes")
"""What can be left out, besides kinds of image, to see what it is worth."""

SIDES = (6.0, 150.0)
"""Sides of cells in pixels."""
MOST_CELLS = 2000
"""Of an image."""


@dataclass(frozen=True)
class Scene:
    """One draw of everything. Lengths are in pixels, and shares are between 0 and 1.

    modality: one of MODALITIES. side: of the median cell; spread: standard deviation of the logarithm of sides.
    families: of shapes, the second for a few cells. arrangement: "lone", "clustered", "crowded" or "sheet".
    coverage: share of the image that cells are meant to cover. gap: between the cells of a sheet, as a share of the
    side. overlap, holes, bright: share of cells that lie across others, have a hole, are round and bright.
    inverted: bright and dark are exchanged. halo: reach of the halo, as a share of the side; shade: its strength.
    edge: width of a cell's slope, as a share of its radius. variation: standard deviation of the logarithm of cells'
    contrasts. texture: strength of what is in cells; nucleus: contrast of the nucleus. background: strength of what is
    between cells. debris, fibres: pieces for each cell. light: strength of uneven light. blur: standard deviation of
    the defocus. noise: of the camera, over the contrast of the image; grain: its standard deviation in space.
    levels: grey levels for one standard deviation of the image. gain, offset: how the image's mean and contrast differ
    from those of its data set.
    """

    modality: str
    side: float
    spread: float
    families: tuple[str, str]
    arrangement: str
    coverage: float
    gap: float
    overlap: float
    holes: float
    bright: float
    inverted: bool
    halo: float
    shade: float
    edge: float
    variation: float
    texture: float
    nucleus: float
    background: float
    debris: float
    fibres: float
    light: float
    blur: float
    noise: float
    grain: float
    levels: float
    gain: float
    offset: float


def draw_scene(rng: np.random.Generator, sides: tuple[float, float], without: Collection[str] = ()) -> Scene:
    """A random scene.

    Args:
        rng: gives the same scene for the same state.
        sides: range of the median side; its logarithm is uniform.
        without: names of MODALITIES and EFFECTS that are left out.
    """
    modality = _modality(rng, without)
    nuclei = modality == "nuclei"
    sheet = rng.random() < (0.0 if "sheets" in without else 0.1 if nuclei else 0.25)
    arrangement = "sheet" if sheet else str(rng.choice(["lone", "clustered", "crowded"]))
    # defocus and noise are mild in most images and strong in a few
    blur, noise = 0.3 + rng.gamma(1.0, 0.35), _log_uniform(rng, 0.015, 0.5)
    # thin cells are no darker than what is around them: only their edges and what is in them is seen
    shade = rng.uniform(0.5, 1.0) if rng.random() < 0.5 else rng.uniform(0.92, 1.04)
    # images of a mixed data set have little contrast beside its brightest
    gain = rng.normal(0, 0.3) if rng.random() < 0.75 else rng.uniform(math.log(0.12), 0)
    return Scene(
        modality=modality,
        side=_log_uniform(rng, *sides),
        spread=0.0 if "sizes" in without else rng.uniform(0.05, 0.45),
        families=_families(rng, nuclei),
        arrangement=arrangement,
        coverage=rng.uniform(0.35, 0.85) if arrangement == "crowded" else rng.uniform(0.03, 0.4),
        gap=max(0.0, rng.uniform(-0.05, 0.12)),
        overlap=_sometimes(rng, 0.4, 0.05, 0.35, "overlaps" in without or sheet),
        holes=_sometimes(rng, 0.25, 0.05, 0.2, "holes" in without),
        bright=_sometimes(rng, 0.35, 0.03, 0.3, nuclei),
        inverted=rng.random() < (0.5 if modality in ("brightfield", "dic") else 0.25 if modality == "phase" else 0.12),
        halo=_log_uniform(rng, 0.08, 0.7),
        shade=shade,
        edge=_log_uniform(rng, 0.1, 1.0),
        variation=rng.uniform(0.05, 0.7),
        texture=0.0 if "texture" in without else rng.uniform(0, 1) ** 2 * 1.2,
        nucleus=0.0 if nuclei else _sometimes(rng, 0.6, -0.8, 0.8, "texture" in without),
        background=0.0 if "texture" in without else rng.uniform(0, 1) ** 2 * 0.2,
        debris=_sometimes(rng, 0.6, 0.05, 1.5, "debris" in without),
        fibres=_sometimes(rng, 0.25 if modality in ("phase", "brightfield") else 0.05, 0.3, 4.0, "fibres" in without),
        light=0.0 if "light" in without else rng.uniform(0, 1) ** 2 * 1.0,
        blur=0.5 if "defocus" in without else min(blur, 2.5),
        noise=0.02 if "noise" in without else noise,
        grain=0.0 if "noise" in without else max(0.0, rng.uniform(-0.6, 0.9)),
        levels=64.0 if "noise" in without else _log_uniform(rng, 6, 256),
        gain=math.exp(gain),
        offset=rng.normal(0, 0.4),
    )


def _modality(rng: np.random.Generator, without: Collection[str]) -> str:
    names = [name for name in MODALITIES if name not in without]
    shares = np.array([MODALITIES[name] for name in names])
    return str(rng.choice(names, p=shares / shares.sum()))


def _families(rng: np.random.Generator, nuclei: bool) -> tuple[str, str]:
    names = ("round", "oval", "amoeboid") if nuclei else tuple(FAMILIES)
    first, second = rng.choice(names, 2)
    return str(first), str(second)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _sometimes(rng: np.random.Generator, share: float, low: float, high: float, never: bool) -> float:
    """Uniform in a share of the scenes, else 0. As many random numbers are drawn in every case."""
    there, value = rng.random() < share, rng.uniform(low, high)
    return value if there and not never else 0.0
