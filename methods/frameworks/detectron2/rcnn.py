"""The engine of the baseline: detectron2's generalised R-CNN put together from a recipe's parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.backbone import FPN, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.structures import ImageList
from detectron2.structures import Instances as D2Instances
from numpy.typing import NDArray
from torch import Tensor

from harness.contract import Init, Predictions, Recipe, Sample, Task
from methods.frameworks.detectron2 import zoo_weights
from methods.frameworks.detectron2.instance_batch import InstanceBatch
from methods.frameworks.detectron2.matching import match_all, match_per_image
from methods.frameworks.detectron2.resnet import is_zoo_like, zoo_config
from methods.frameworks.detectron2.roi_heads import RoIHeads, box_branch, names_of
from methods.frameworks.detectron2.rpn import RPN, RPNOutputs
from methods.frameworks.detectron2.settings import Detectron2Settings
from methods.shared.compiled import Compiled
from methods.shared.device_transfer import to_device
from methods.shared.paste_masks import paste_crops

IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""RGB, 0..255: what timm's and torchvision's backbones were trained with."""


class BottomUp(Backbone):
    """A backbone part as detectron2 wants it."""

    def __init__(self, body: Any, letter: str) -> None:
        super().__init__()
        self.body = body
        self._out_features = names_of(body.strides, letter)
        self._out_feature_strides = dict(zip(self._out_features, body.strides, strict=True))
        self._out_feature_channels = dict(zip(self._out_features, body.channels, strict=True))

    @property
    def size_divisibility(self) -> int:
        return int(self.body.pad_to)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return dict(zip(self._out_features, self.body(images), strict=True))


class PaddedFPN(FPN):
    """detectron2's FPN that also keeps to the multiple its bottom-up needs."""

    @property
    def size_divisibility(self) -> int:
        return max(super().size_divisibility, self.bottom_up.size_divisibility)


class RCNN(GeneralizedRCNN):
    """detectron2's, fed with arrays, and with a training step that works through all images at once.

    order: of the colour channels, as the backbone's pretrained weights have them. scale: the network sees images
    enlarged by this factor. compiled: whether what always has the same shapes in training is compiled.
    """

    def __init__(self, *, order: Literal["BGR", "RGB"], scale: float, compiled: bool, **parts: Any) -> None:
        super().__init__(input_format=order, **parts)
        self.order, self.scale = order, scale
        self.training_maps = self.maps
        if compiled:
            self.training_maps = Compiled(self.maps, self.maps, self, dynamic=False)
            self.proposal_generator.match = Compiled(match_all, match_per_image, dynamic=True)

    def images(self, arrays: Sequence[NDArray[np.uint8]]) -> ImageList:
        """(B, 3, H, W) normalised and enlarged images, padded at the right and bottom to the largest of them."""
        if len({array.shape for array in arrays}) == 1:
            batches = [self._normalised(np.stack(arrays))]
        else:
            batches = [self._normalised(array[None]) for array in arrays]
        sizes = [tuple(batch.shape[-2:]) for batch in batches for _ in batch]
        multiple = max(1, self.backbone.size_divisibility)
        height, width = (-(-max(sides) // multiple) * multiple for sides in zip(*sizes, strict=True))
        whole = [F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2])) for x in batches]
        padded = ImageList(whole[0] if len(whole) == 1 else torch.cat(whole), sizes)
        if not self.training or padded.device.type == "cuda":
            # on a CPU convolutions predict faster so, and train slower
            padded.tensor = padded.tensor.contiguous(memory_format=torch.channels_last)
        return padded

    def _normalised(self, arrays: NDArray[np.uint8]) -> Tensor:
        """(B, 3, H, W) float32 of (B, H, W) or (B, H, W, 3) images of one size."""
        pixels = to_device(arrays, self.device)
        planes = pixels.permute(0, 3, 1, 2) if pixels.dim() == 4 else pixels[:, None]
        if self.order == "BGR" and pixels.dim() == 4:
            planes = planes.flip(1)
        planes = planes.float()
        if self.scale != 1:
            planes = F.interpolate(planes, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return (planes - self.pixel_mean) / self.pixel_std

    def losses_of(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        images, cells = self.images([s.image for s in samples]), InstanceBatch.of(samples, self.scale, self.device)
        rpn: RPN = self.proposal_generator
        features, answers = self.training_maps(images.tensor)
        anchors = rpn.anchors([features[name] for name in rpn.in_features])
        losses = rpn.losses_of(answers, anchors, cells)
        proposals = rpn.propose(answers, anchors, images.image_sizes)
        return {**losses, **self.roi_heads.losses_of(features, proposals, cells)}

    def maps(self, images: Tensor) -> tuple[dict[str, Tensor], RPNOutputs]:
        """The feature pyramid, and what the proposal network says of it."""
        features = self.backbone(images)
        return features, self.proposal_generator.answers([features[n] for n in self.proposal_generator.in_features])

    def detect(self, arrays: Sequence[NDArray[np.uint8]]) -> list[D2Instances]:
        """What is found in each image, in pixels of the network's input."""
        images = self.images(arrays)
        features = self.backbone(images.tensor)
        proposals, _ = self.proposal_generator(images, features)
        found: list[D2Instances] = self.roi_heads(images, features, proposals)[0]
        return found


class Detectron2Model:
    """An RCNN behind the harness's Model contract; predictions come back in the image's own pixels."""

    def __init__(self, module: RCNN, task: Task) -> None:
        self.module = module
        self.task = task

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, Tensor]:
        return self.module.losses_of(batch)

    @torch.no_grad()
    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        found = self.module.detect(images)
        return [self._predictions(x, image.shape[:2]) for x, image in zip(found, images, strict=True)]

    def _predictions(self, found: D2Instances, size: tuple[int, int]) -> Predictions:
        masks, kept = paste_crops(found.pred_masks, found.pred_boxes.tensor.float() / self.module.scale, size)
        scores = found.scores.float().cpu().numpy()[kept].clip(0, 1)
        return Predictions(size, masks, scores.astype(np.float32), found.pred_classes.cpu().numpy()[kept])


def build(recipe: Recipe, task: Task) -> Detectron2Model:
    """Build the network of a recipe on task.device. Of task.settings it reads Detectron2Settings."""
    init: Init = recipe.init.build(task)
    settings = Detectron2Settings.read(task.settings)
    body = recipe.backbone.build(task, init=init)
    zoo_like, zoo = is_zoo_like(init), getattr(body, "config", None)
    config = _config(task, settings, zoo or zoo_config(50), zoo_like)
    order: Literal["BGR", "RGB"] = "BGR" if zoo and zoo_like else "RGB"
    if not zoo_like:
        mean, std = task.pixel_mean, task.pixel_std
    elif zoo:
        mean, std = config.MODEL.PIXEL_MEAN, config.MODEL.PIXEL_STD
    else:
        mean, std = IMAGENET_MEAN, IMAGENET_STD

    if getattr(body, "is_pyramid", False):
        backbone: Backbone = BottomUp(body, "p")
    else:
        maps = BottomUp(body, "c")
        backbone = PaddedFPN(
            maps, list(maps.output_shape()), settings.width, norm=config.MODEL.FPN.NORM, top_block=LastLevelMaxPool()
        )
    shapes: dict[str, ShapeSpec] = backbone.output_shape()
    names = sorted(shapes, key=lambda name: shapes[name].stride)
    config.MODEL.RPN.IN_FEATURES = names
    config.MODEL.ROI_HEADS.IN_FEATURES = names[:-1]
    config.MODEL.ANCHOR_GENERATOR.SIZES = [[shapes[n].stride * settings.anchor_scale] for n in names]

    head = recipe.mask_head.build(
        task, channels=shapes[names[0]].channels, strides=tuple(shapes[n].stride for n in names[:-1])
    )
    module = RCNN(
        backbone=backbone,
        proposal_generator=RPN(config, shapes),
        roi_heads=RoIHeads(
            mask_head=head,
            supervision=recipe.supervision.build(task),
            scale=settings.scale,
            **box_branch(config, shapes),
        ),
        pixel_mean=mean,
        pixel_std=std,
        order=order,
        scale=settings.scale,
        compiled=settings.compile,
    ).to(task.device)
    if module.device.type == "cuda":
        module.to(memory_format=torch.channels_last)
    zoo_weights.load(module, init, recipe.backbone)
    return Detectron2Model(module, task)


def _config(task: Task, settings: Detectron2Settings, config: Any, zoo_like: bool) -> Any:
    """The zoo's config with what the data, the preset and the starting weights decide."""
    model = config.MODEL
    model.FPN.OUT_CHANNELS = settings.width
    model.RPN.CONV_DIMS = [-1]
    model.RPN.BATCH_SIZE_PER_IMAGE = settings.anchors_per_image
    model.RPN.PRE_NMS_TOPK_TRAIN = 2 * settings.proposals
    model.RPN.POST_NMS_TOPK_TRAIN = settings.proposals
    # cells are many and the zoo's 100 detections and 1000 proposals an image would cap recall
    detections = max(100, int(1.5 * task.max_cells))
    model.RPN.POST_NMS_TOPK_TEST = model.RPN.PRE_NMS_TOPK_TEST = max(settings.proposals, 2 * detections)
    config.TEST.DETECTIONS_PER_IMAGE = detections
    model.ROI_HEADS.NUM_CLASSES = len(task.classes)
    model.ROI_HEADS.BATCH_SIZE_PER_IMAGE = settings.rois_per_image
    model.ROI_BOX_HEAD.FC_DIM = settings.box_head_width
    if not zoo_like:
        model.FPN.NORM = "GN"
    return config
