"""detectron2's ResNet and ResNeXt as backbone parts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from harness.contract import Init, Task
from methods.frameworks.detectron2 import imagenet_weights
from methods.frameworks.detectron2.settings import ResNetOptions
from methods.shared.weights import weight_names

ZOO = {
    (50, 1): "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml",
    (101, 1): "COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x.yaml",
    (101, 32): "COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x.yaml",
}
"""The zoo's config by depth and number of groups. Its strides, widths and pixel statistics are used unchanged."""


def zoo_config(depth: int, groups: int = 1) -> Any:
    """detectron2's config of that ResNet. Depths that are not in the zoo (18, 34) begin with that of R50."""
    from detectron2 import model_zoo

    config = model_zoo.get_config(ZOO.get((depth, groups), ZOO[50, 1]))
    config.MODEL.RESNETS.DEPTH = depth
    if depth in (18, 34):
        config.MODEL.RESNETS.RES2_OUT_CHANNELS = 64
    return config


def is_zoo_like(init: Init) -> bool:
    """Whether the network has the zoo's layout (frozen batch norm, no norm in the pyramid) or that for scratch.

    For a checkpoint it depends on the layout of the network that was saved.
    """
    if init.kind != "checkpoint":
        return init.pretrained
    pyramid = [name for name in weight_names(str(init.path)) if ".fpn_lateral" in name]
    return bool(pyramid) and not any(".norm." in name for name in pyramid)


class ResNet(nn.Module):
    """detectron2's ResNet behind the interface of backbones: four maps at strides 4, 8, 16 and 32.

    Attributes:
        config: detectron2's, with the statistics and the order of the colour channels that belong to the weights.
    """

    pad_to = 32
    is_pyramid = False

    def __init__(self, bottom_up: Any, config: Any, layout: imagenet_weights.Layout) -> None:
        super().__init__()
        if layout == "torchvision":
            self.register_buffer(imagenet_weights.TORCHVISION_LAYOUT, torch.tensor(True))
        self.bottom_up = bottom_up
        self.config = config
        shapes = bottom_up.output_shape()
        self.names = tuple(config.MODEL.RESNETS.OUT_FEATURES)
        self.strides = tuple(shapes[name].stride for name in self.names)
        self.channels = tuple(shapes[name].channels for name in self.names)

    def compiled_blocks(self) -> list[nn.Module]:
        """The residual blocks; those of one stage have the same shapes but for the first."""
        from detectron2.layers import CNNBlockBase

        return [module for module in self.modules() if isinstance(module, CNNBlockBase)]

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = self.bottom_up(images)
        return [maps[name] for name in self.names]


def build(task: Task, options: ResNetOptions, *, init: Init) -> ResNet:
    """From scratch: GroupNorm, stride in the 3x3, nothing frozen. Pretrained: the zoo's FrozenBN, stem and res2 frozen.

    Small batches are why: batch statistics of two images are noise ("Rethinking ImageNet Pre-training", and the
    zoo's scratch configs). The place of the stride, the order of the channels and their statistics are those of the
    weights.
    """
    from detectron2.layers import ShapeSpec
    from detectron2.modeling.backbone.resnet import build_resnet_backbone

    config = zoo_config(options.depth, options.groups)
    config.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    if not is_zoo_like(init):
        config.MODEL.RESNETS.NORM = "GN"
        config.MODEL.RESNETS.STRIDE_IN_1X1 = False
        config.MODEL.BACKBONE.FREEZE_AT = 0
    if init.kind != "imagenet" or init.restored:
        stored = init.restored or init.kind == "checkpoint"
        layout = imagenet_weights.stored_layout(init) if stored and is_zoo_like(init) else "zoo"
        imagenet_weights.set_layout(config, layout)
        return ResNet(build_resnet_backbone(config, ShapeSpec(channels=3)), config, layout)
    weights, layout, path = imagenet_weights.read_imagenet(init, config.MODEL.WEIGHTS)
    imagenet_weights.set_layout(config, layout)
    bottom_up = build_resnet_backbone(config, ShapeSpec(channels=3))
    imagenet_weights.load_bottom_up(bottom_up, weights, path)
    return ResNet(bottom_up, config, layout)
