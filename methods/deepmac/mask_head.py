"""The deep, class-agnostic mask head of Deep Mask-RCNN, trained on annotated boxes (METHODS section 4b)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.contract import Task
from methods.deepmac import DeepMACOptions, hourglass
from methods.deepmac import resnet as resnet_mask_heads
from methods.shared.deconv import Deconv2x2
from methods.shared.mask_heads import DenseField, MaskHead
from methods.shared.norms import Norm, norm_of
from methods.shared.roi_pooling import RoIPool, with_image_index
from methods.shared.supervision import MaskTargets

EVAL_BOXES = 128
"""Boxes worked through at a time outside training, so that memory does not grow with the cells of an image."""


class SoftTargetField(DenseField):
    """A dense field whose full-mask targets keep their fractions, as the paper's loss has it."""

    def full_mask_loss(self, targets: MaskTargets, classes: Tensor) -> Tensor:
        """Cross-entropy summed over all pixels of all boxes, over their number + 0.01."""
        logits = self.grid(classes)
        soft = targets.masks_on_grid(logits.shape[-1]).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, soft, reduction="sum") / (logits.numel() + 0.01)


class DeepMaskHead(MaskHead):
    """RoIAlign, a deep trunk, 2x2 deconvolution, norm, ReLU, and one mask whatever the class, at twice the crop."""

    trains_on = "ground_truth"

    def __init__(
        self,
        trunk: hourglass.Hourglass | resnet_mask_heads.ResNetTrunk,
        strides: Sequence[int],
        width: int,
        crop: int,
        norm: Norm,
        max_train_boxes: int | None,
        jitter: float,
    ) -> None:
        super().__init__()
        self.max_train_boxes, self.jitter = max_train_boxes, jitter
        self.pool = RoIPool(crop, strides)
        self.trunk = trunk
        self.deconv = nn.Sequential(
            Deconv2x2(trunk.out_channels, width), norm_of(norm, width, eps=1e-3), nn.ReLU(inplace=True)
        )
        self.predictor = nn.Conv2d(width, 1, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> SoftTargetField:
        rois = with_image_index(boxes)
        parts = [rois] if self.training else rois.split(EVAL_BOXES)
        logits = [self.predictor(self.deconv(self.trunk(self.pool.pool(features, part)))) for part in parts]
        return SoftTargetField(torch.cat(logits))


def build(task: Task, options: DeepMACOptions, *, channels: int, strides: tuple[int, ...]) -> DeepMaskHead:
    """The mask head on a pyramid of `channels` channels whose levels have these strides."""
    network = hourglass.Hourglass if options.network == "hourglass" else resnet_mask_heads.ResNetTrunk
    trunk = network(channels, options.depth, options.width, options.norm)
    return DeepMaskHead(
        trunk, strides, options.width, options.crop, options.norm, options.max_train_boxes, options.jitter
    )
