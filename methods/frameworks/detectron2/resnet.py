"""ResNet and ResNeXt bottom-ups as detectron2 builds them, as a backbone part."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from harness.contract import Init, Task
from methods.frameworks.detectron2.settings import ResNetOptions
from methods.shared.weights import read_weights

ZOO = {
    (50, 1): "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml",
    (101, 1): "COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x.yaml",
    (101, 32): "COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x.yaml",
}
"""The zoo's own config by depth and number of groups: its strides, widths and pixel statistics are used as they are."""


def zoo_config(depth: int, groups: int = 1) -> Any:
    """detectron2's config of that ResNet; depths that are not in the zoo (18, 34) start from R50's."""
    from detectron2 import model_zoo

    config = model_zoo.get_config(ZOO.get((depth, groups), ZOO[50, 1]))
    config.MODEL.RESNETS.DEPTH = depth
    if depth in (18, 34):
        config.MODEL.RESNETS.RES2_OUT_CHANNELS = 64
    return config


def is_zoo_like(init: Init) -> bool:
    """Whether the network is built as the zoo builds it (frozen batch norm, no norm in the pyramid) or as for scratch.

    A checkpoint decides by what it holds: an earlier run may have begun either way.
    """
    if init.kind != "checkpoint":
        return init.pretrained
    pyramid = [name for name in read_weights(str(init.path)) if ".fpn_lateral" in name]
    return bool(pyramid) and not any(".norm." in name for name in pyramid)


class ResNet(nn.Module):
    """detectron2's ResNet behind the backbone interface: four maps at strides 4, 8, 16, 32."""

    pad_to = 32
    is_pyramid = False

    def __init__(self, bottom_up: Any, config: Any) -> None:
        super().__init__()
        self.bottom_up = bottom_up
        self.config = config
        shapes = bottom_up.output_shape()
        self.names = tuple(config.MODEL.RESNETS.OUT_FEATURES)
        self.strides = tuple(shapes[name].stride for name in self.names)
        self.channels = tuple(shapes[name].channels for name in self.names)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = self.bottom_up(images)
        return [maps[name] for name in self.names]


def build(task: Task, options: ResNetOptions, *, init: Init) -> ResNet:
    """From scratch: GroupNorm, stride in the 3x3, nothing frozen. Pretrained: the zoo's FrozenBN, stem and res2 frozen.

    Small batches are why: batch statistics of two images are noise ("Rethinking ImageNet Pre-training", and the
    zoo's scratch configs).
    """
    from detectron2.layers import ShapeSpec
    from detectron2.modeling.backbone.resnet import build_resnet_backbone

    config = zoo_config(options.depth, options.groups)
    config.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    if not is_zoo_like(init):
        config.MODEL.RESNETS.NORM = "GN"
        config.MODEL.RESNETS.STRIDE_IN_1X1 = False
        config.MODEL.BACKBONE.FREEZE_AT = 0
    bottom_up = build_resnet_backbone(config, ShapeSpec(channels=3))
    if init.kind == "imagenet" and not init.restored:
        from methods.frameworks.detectron2.zoo_weights import imagenet_bottom_up

        imagenet_bottom_up(bottom_up, config.MODEL.WEIGHTS, init.path)
    return ResNet(bottom_up, config)
