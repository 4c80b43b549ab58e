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
from detectron2.structures import Boxes
from detectron2.structures import Instances as D2Instances
from detectron2.utils.events import EventStorage
from numpy.typing import NDArray
from torch import Tensor

from harness.contract import Init, Predictions, Recipe, Sample, Task
from methods.engines import zoo_weights
from methods.engines.detectron2_resnet import is_zoo_like, zoo_config
from methods.engines.detectron2_roi_heads import RoIHeads, box_branch, names_of
from methods.engines.detectron2_rpn import RPN
from methods.engines.paste import paste_crops
from methods.engines.torch_masks import TorchMasks

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
    """detectron2's, with whole images laid out channels last: its convolutions predict faster so, and train slower."""

    def preprocess_image(self, batched_inputs: list[dict[str, Any]]) -> Any:
        images = super().preprocess_image(batched_inputs)
        if not self.training:
            images.tensor = images.tensor.contiguous(memory_format=torch.channels_last)
        return images


class Detectron2Model:
    """A GeneralizedRCNN behind the harness's Model contract.

    scale: the network sees images enlarged by this factor; predictions come back in the image's own pixels.
    order: of the colour channels, as the backbone's pretrained weights have them.
    """

    def __init__(self, module: GeneralizedRCNN, task: Task, scale: float, order: Literal["BGR", "RGB"]) -> None:
        self.module = module
        self.task = task
        self.scale = scale
        self.order = order

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, Tensor]:
        with EventStorage():  # detectron2 writes its own counters there; nothing here reads them
            return self.module([self._input(sample.image, sample) for sample in batch])

    @torch.no_grad()
    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        found = self.module.inference([self._input(image) for image in images], do_postprocess=False)
        return [self._predictions(x, image.shape[:2]) for x, image in zip(found, images, strict=True)]

    def _input(self, image: NDArray[np.uint8], sample: Sample | None = None) -> dict[str, Any]:
        device = self.module.device
        rgb = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        ordered = rgb[..., ::-1] if self.order == "BGR" else rgb
        planes = torch.from_numpy(np.ascontiguousarray(ordered.transpose(2, 0, 1)))
        pixels = planes.to(device, non_blocking=True).float()
        if self.scale != 1:
            pixels = F.interpolate(pixels[None], scale_factor=self.scale, mode="bilinear", align_corners=False)[0]
        entry: dict[str, Any] = {"image": pixels}
        if sample is not None:
            entry["instances"] = self._targets(sample, pixels.shape[-2:], device)
        return entry

    def _targets(self, sample: Sample, size: Sequence[int], device: torch.device) -> D2Instances:
        cells = sample.instances
        if cells.crowd is not None and cells.crowd.any():
            cells = cells.select(~cells.crowd)
        targets = D2Instances(tuple(size))
        boxes = torch.from_numpy(cells.boxes.astype(np.float32)).to(device, non_blocking=True)
        targets.gt_boxes = Boxes(boxes * self.scale)
        targets.gt_classes = torch.from_numpy(cells.labels).to(device, non_blocking=True)
        if cells.masks is not None:
            targets.gt_masks = TorchMasks.of(cells.masks, sample.size, device)
        if cells.points is not None and cells.point_labels is not None:
            targets.gt_points = torch.from_numpy(cells.points).to(device, non_blocking=True)
            targets.gt_point_labels = torch.from_numpy(cells.point_labels).to(device, non_blocking=True)
        return targets

    def _predictions(self, found: D2Instances, size: tuple[int, int]) -> Predictions:
        masks, kept = paste_crops(found.pred_masks, found.pred_boxes.tensor.float() / self.scale, size)
        scores = found.scores.float().cpu().numpy()[kept].clip(0, 1)
        return Predictions(size, masks, scores.astype(np.float32), found.pred_classes.cpu().numpy()[kept])


def build(recipe: Recipe, task: Task) -> Detectron2Model:
    """Build the network of a recipe on task.device.

    task.settings read here: width (channels of the pyramid and heads, 256), box_head_width (1024), anchor_scale
    (anchor side over stride; 8 is the zoo's), rois_per_image (512), anchors_per_image (256), proposals (1000),
    scale (1.0).
    """
    init: Init = recipe.init.build(task)
    settings = dict(task.settings)
    width = int(settings.get("width", 256))
    body = recipe.backbone.build(task, init=init)
    zoo_like, zoo = is_zoo_like(init), getattr(body, "config", None)
    config = _config(task, settings, zoo or zoo_config(50), zoo_like, width)
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
            maps, list(maps.output_shape()), width, norm=config.MODEL.FPN.NORM, top_block=LastLevelMaxPool()
        )
    shapes: dict[str, ShapeSpec] = backbone.output_shape()
    names = sorted(shapes, key=lambda name: shapes[name].stride)
    config.MODEL.RPN.IN_FEATURES = names
    config.MODEL.ROI_HEADS.IN_FEATURES = names[:-1]
    config.MODEL.ANCHOR_GENERATOR.SIZES = [[shapes[n].stride * float(settings.get("anchor_scale", 8))] for n in names]

    head = recipe.mask_head.build(
        task, channels=shapes[names[0]].channels, strides=tuple(shapes[n].stride for n in names[:-1])
    )
    scale = float(settings.get("scale", 1.0))
    module = RCNN(
        backbone=backbone,
        proposal_generator=RPN(config, shapes),
        roi_heads=RoIHeads(
            mask_head=head,
            supervision=recipe.supervision.build(task),
            scale=scale,
            **box_branch(config, shapes),
        ),
        pixel_mean=mean,
        pixel_std=std,
        input_format=order,
    ).to(task.device)
    zoo_weights.load(module, init, recipe.backbone)
    return Detectron2Model(module, task, scale, order)


def _config(task: Task, settings: Mapping[str, Any], config: Any, zoo_like: bool, width: int) -> Any:
    """The zoo's config with what the data, the preset and the starting weights decide."""
    model = config.MODEL
    model.FPN.OUT_CHANNELS = width
    model.RPN.CONV_DIMS = [-1]
    model.RPN.BATCH_SIZE_PER_IMAGE = int(settings.get("anchors_per_image", 256))
    model.RPN.PRE_NMS_TOPK_TRAIN = 2 * int(settings.get("proposals", 1000))
    model.RPN.POST_NMS_TOPK_TRAIN = int(settings.get("proposals", 1000))
    # cells are many and the zoo's 100 detections and 1000 proposals an image would cap recall
    detections = max(100, int(1.5 * task.max_cells))
    model.RPN.POST_NMS_TOPK_TEST = model.RPN.PRE_NMS_TOPK_TEST = max(
        int(settings.get("proposals", 1000)), 2 * detections
    )
    config.TEST.DETECTIONS_PER_IMAGE = detections
    model.ROI_HEADS.NUM_CLASSES = len(task.classes)
    model.ROI_HEADS.BATCH_SIZE_PER_IMAGE = int(settings.get("rois_per_image", 512))
    model.ROI_BOX_HEAD.FC_DIM = int(settings.get("box_head_width", 1024))
    if not zoo_like:
        model.FPN.NORM = "GN"
    return config
