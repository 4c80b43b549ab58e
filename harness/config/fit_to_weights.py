"""Changes a preset to what the weights that a trial starts from were trained with: scale and anchors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.config.anchors import RATIOS, STRIDES
from harness.config.fit import ANCHORS_OF, KEPT, MAX_SCALE, as_it_was_set
from harness.config.preset import Preset, with_settings


def at_cell_size(preset: Preset, wanted: float, diameter: float) -> Preset:
    """The preset with a scale at which cells have the diameter that initial weights were trained on.

    Crops keep their size for the network. A preset whose cells are about as large stays as it is.

    Args:
        preset: of the run.
        wanted: median diameter of the cells of the weights, in pixels of the network's input.
        diameter: of those of the training images, in pixels of the images.
    """
    scale = float(f"{min(wanted / diameter, MAX_SCALE):.2g}")
    if KEPT[0] <= scale / preset.scale <= KEPT[1]:
        return preset
    said = f"cells are {diameter:.3g} pixels (median) and those of the initial weights {wanted:.3g} for their network"
    by_size = {size: s * scale / preset.scale for size, s in preset.model.get("scale_by_size", {}).items()}
    return _at_scale(preset, scale, f"{said}, so images are resized to {scale:g} of their size", by_size)


def at_typed_scale(preset: Preset, scale: float) -> Preset:
    """The preset with the scale that an init names. Crops keep their size for the network."""
    return _at_scale(preset, scale, f"images are resized to {scale:g} of their size, as the initial weights ask")


def at_anchors(preset: Preset, anchors: Mapping[str, Any]) -> Preset:
    """The preset with the anchors that initial weights were trained with, where it is fitted to the data.

    Their heads know these anchors; others would be better for the cells alone. What was set by hand stays.

    Args:
        preset: of the run.
        anchors: settings of the [model] table by name, as StartingWeights has them.
    """
    usual = {"anchor_ratios": list(RATIOS[0])}
    changes = {
        f"model.{name}": value
        for name, value in anchors.items()
        if preset.model.get(name, usual.get(name)) != value and as_it_was_set(preset, f"model.{name}") not in preset.fit
    }
    if not preset.fit or not changes:
        return preset
    changed = with_settings(preset, changes)
    small, large = (stride * changed.model["anchor_scale"] for stride in (STRIDES[0], STRIDES[-1]))
    kept = [sentence for sentence in preset.fit if not sentence.startswith(ANCHORS_OF)]
    said = f"{ANCHORS_OF} {small:g} to {large:g} pixels of the network, as the initial weights were trained with"
    return changed.model_copy(update={"fit": (*kept, said)})


def _at_scale(preset: Preset, scale: float, reason: str, by_size: Mapping[str, float] | None = None) -> Preset:
    crop = max(1, round(preset.training.crop * preset.scale / scale))
    changes: dict[str, Any] = {"model.scale": scale, "training.crop": crop}
    if by_size or "scale_by_size" in preset.model:
        changes["model.scale_by_size"] = dict(by_size or {})
    changed = with_settings(preset, changes)
    return changed.model_copy(update={"fit": (*preset.fit, reason)})
