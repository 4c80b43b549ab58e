"""ImageNet weights for detectron2's ResNets, from the files of detectron2's zoo and of torchvision.

The two were trained on different input. What belongs to the weights is a *layout*:

- "zoo": the files that the zoo starts from (MSRA, FAIR). BGR, and the statistics and the place of the stride that the
  zoo's configuration of the network states. Names are Caffe2's (`res2_0_branch2a_w`) or detectron2's.
- "torchvision": RGB, ImageNet's mean and standard deviation, the stride in the 3x3 convolution. Names are torchvision's
  (`layer1.0.conv1.weight`), or those that detectron2's `tools/convert-torchvision-to-d2.py` writes, which also states
  the settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from harness.contract import Init
from harness.errors import HarnessError
from methods.shared.pretrained import IMAGENET_MEAN, IMAGENET_STD
from methods.shared.weights import load_matching, read_weights_and_author, weight_names

Layout = Literal["zoo", "torchvision"]

TORCHVISION_LAYOUT = "torchvision_layout"
"""Name of the buffer that marks a network with torchvision's layout, so that its stored weights state it."""


def read_imagenet(init: Init, config_weights: str) -> tuple[dict[str, Tensor], Layout, str]:
    """The weights of `init.path`, or of the download that the config names; their layout, and their file."""
    path = init.path or _downloaded(config_weights)
    weights, author = read_weights_and_author(path)
    return weights, layout_of(weights, author), path


def layout_of(names: Iterable[str], author: str = "") -> Layout:
    """The layout of a file of ImageNet weights, by the names of its tensors and by its author, if it states one."""
    torchvisions = any(name.startswith(("layer1.", "stem.fc.")) for name in names)
    return "torchvision" if torchvisions or author == "torchvision" else "zoo"


def stored_layout(init: Init) -> Layout:
    """The layout of a network whose weights are, or will be, those of an earlier run."""
    if init.path is None or not Path(init.path).is_file():
        return "zoo"
    marked = any(name.rpartition(".")[2] == TORCHVISION_LAYOUT for name in weight_names(init.path))
    return "torchvision" if marked else "zoo"


def set_layout(config: Any, layout: Layout) -> None:
    """Write what belongs to the weights into detectron2's config of the network."""
    if layout == "torchvision":
        config.MODEL.RESNETS.STRIDE_IN_1X1 = False
        config.MODEL.PIXEL_MEAN, config.MODEL.PIXEL_STD = list(IMAGENET_MEAN), list(IMAGENET_STD)
        config.INPUT.FORMAT = "RGB"


def load_bottom_up(bottom_up: nn.Module, weights: Mapping[str, Tensor], path: str) -> None:
    """Copy ImageNet weights into a detectron2 ResNet. Raises HarnessError if they do not fit it."""
    from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts

    if any(name.startswith("layer1.") for name in weights):
        load_matching(bottom_up, {_detectron2_name(name): value for name, value in weights.items()}, path, ())
        return
    caffe2 = any(name.endswith("_w") for name in weights)
    aligned = align_and_update_state_dicts(bottom_up.state_dict(), dict(weights), c2_conversion=caffe2)
    if caffe2:
        aligned = {**_unit_statistics(bottom_up), **aligned}
    load_matching(bottom_up, aligned, path, ())


def _downloaded(config_weights: str) -> str:
    from detectron2.utils.file_io import PathManager

    try:
        return str(PathManager.get_local_path(config_weights))
    except Exception as error:  # iopath raises a different error for every kind of failure
        raise HarnessError(
            f"the ImageNet weights {config_weights} could not be downloaded ({type(error).__name__}); fetch the "
            "file elsewhere and pass it with --init imagenet:FILE, or use --init scratch"
        ) from error


def _detectron2_name(name: str) -> str:
    """`layer1.0.bn1.weight` is `res2.0.conv1.norm.weight`; what is in no stage is in the stem."""
    outer, _, rest = name.partition(".")
    prefix = f"res{int(outer[5:]) + 1}." if outer.startswith("layer") and outer[5:].isdigit() else "stem."
    name = prefix + (rest if prefix != "stem." else name)
    for number in "123":
        name = name.replace(f"bn{number}.", f"conv{number}.norm.")
    return name.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")


def _unit_statistics(network: nn.Module) -> dict[str, Tensor]:
    """Mean 0 and variance 1 for each batch norm, whose statistics are folded into its scale in Caffe2's files."""
    statistics = {}
    for name, value in network.state_dict().items():
        if name.endswith((".running_mean", ".running_var")):
            statistics[name] = torch.full_like(value, float(name.endswith("var")))
    return statistics
