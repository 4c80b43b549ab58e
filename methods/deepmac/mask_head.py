"""The deep, class-agnostic mask head of Deep Mask-RCNN, trained on annotated boxes.

Source: Birodkar et al. 2021; `tensorflow/models`,
`official/projects/deepmac_maskrcnn/modeling/heads/instance_heads.py`; docs/methods.md#deepmac.
"""

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
from methods.shared.norms import Norm, get_norm
from methods.shared.roi_pooling import RoIPooler, boxes_to_rois
from methods.shared.supervision import MaskTargets

EVAL_BOXES = 128
"""Boxes in one chunk outside training, so that memory does not grow with the cells of an image."""


class SoftTargetField(DenseField):
    """A dense field whose full-mask targets are not rounded, as in the paper."""

    def full_mask_loss(self, targets: MaskTargets, classes: Tensor) -> Tensor:
        """Binary cross-entropy summed over the pixels of all boxes, divided by their number + 0.01."""
        logits = self.grid(classes)
        covered = targets.masks_on_grid(logits.shape[-1]).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, covered, reduction="sum") / (logits.numel() + 0.01)


class DeepMaskHead(MaskHead):
    """RoIAlign, a deep trunk, a 2x2 deconvolution with norm and ReLU, and one mask for all classes, twice the crop."""

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
        self.pool = RoIPooler(crop, strides)
        self.trunk = trunk
        self.deconv = nn.Sequential(
            Deconv2x2(trunk.out_channels, width), get_norm(norm, width, eps=1e-3), nn.ReLU(inplace=True)
        )
        self.predictor = nn.Conv2d(width, 1, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> SoftTargetField:
        rois = boxes_to_rois(boxes)
        chunks = [rois] if self.training else rois.split(EVAL_BOXES)
        logits = [self.predictor(self.deconv(self.trunk(self.pool.pool_rois(features, chunk)))) for chunk in chunks]
        return SoftTargetField(torch.cat(logits))


def build(task: Task, options: DeepMACOptions, *, channels: int, strides: tuple[int, ...]) -> DeepMaskHead:
    """The mask head on a pyramid of `channels` channels whose levels have these strides."""
    network = hourglass.Hourglass if options.network == "hourglass" else resnet_mask_heads.ResNetTrunk
    trunk = network(channels, options.depth, options.width, options.norm)
    return DeepMaskHead(
        trunk, strides, options.width, options.crop, options.norm, options.max_train_boxes, options.jitter
    )
