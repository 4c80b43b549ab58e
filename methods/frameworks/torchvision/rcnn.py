"""torchvision's Mask R-CNN as an engine, as in the public Kaggle starter (docs/methods.md#torchvision-starter)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FrozenBatchNorm2d

from harness.contract import Init, Predictions, Recipe, Sample, Task
from harness.errors import HarnessError
from methods.frameworks.torchvision.settings import TorchvisionOptions, TorchvisionSettings
from methods.shared.device_transfer import to_device
from methods.shared.paste_masks import paste_crops
from methods.shared.prediction_caps import prediction_caps
from methods.shared.tuned_convolutions import tune_in_training
from methods.shared.weights import download_weights, load_matching, read_weights

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASS_HEADS = ("box_predictor.", "mask_predictor.mask_fcn_logits.")


class FixedScaleTransform(GeneralizedRCNNTransform):
    """Enlarges every image by the same factor, a crop or a whole image, instead of to a given short side."""

    def __init__(self, scale: float, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(min_size=1, max_size=1, image_mean=list(mean), image_std=list(std))
        self.scale = scale
        # torchvision makes these anew for each image, and each time waits for the copy to the GPU
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def normalize(self, image: Tensor) -> Tensor:
        normalized: Tensor = (image - self.mean) / self.std
        return normalized

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        if self.scale == 1:
            return image, target
        image = F.interpolate(image[None], scale_factor=self.scale, mode="bilinear", align_corners=False)[0]
        if target is not None:
            masks = F.interpolate(target["masks"][None].float(), size=image.shape[-2:])[0].to(torch.uint8)
            target = {**target, "boxes": target["boxes"] * self.scale, "masks": masks}
        return image, target


class TorchvisionModel:
    """torchvision's MaskRCNN behind the Model contract of the harness. Label 0 is its background."""

    def __init__(self, module: MaskRCNN, task: Task, scale: float, proposals: int) -> None:
        self.module, self.task, self.scale, self.proposals = module, task, scale, proposals
        self.device = torch.device(task.device)
        self.set_caps([])
        tune_in_training(module.backbone)

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, Tensor]:
        return self.module([self._to_tensor(s.image) for s in batch], [self._to_target(s) for s in batch])

    @torch.no_grad()
    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        """Run the parts one by one: torchvision's own forward ends in a float plane of the image for every box."""
        self.set_caps([(image.shape[0], image.shape[1]) for image in images])
        module = self.module
        batch, _ = module.transform([self._to_tensor(image) for image in images])
        features = module.backbone(batch.tensors)
        proposals, _ = module.rpn(batch, features)
        detections, _ = module.roi_heads(features, proposals, batch.image_sizes)
        predictions = []
        for detection, image in zip(detections, images, strict=True):
            size = (image.shape[0], image.shape[1])
            masks, kept = paste_crops(detection["masks"][:, 0].float(), detection["boxes"].float() / self.scale, size)
            scores = detection["scores"].float().cpu().numpy()[kept].clip(0, 1)
            labels = detection["labels"].cpu().numpy()[kept] - 1
            predictions.append(Predictions(size, masks, scores.astype(np.float32), labels))
        return predictions

    def max_detections(self, size: tuple[int, int]) -> int:
        """The most detections of an image of that height and width."""
        return prediction_caps(self.task, self.proposals, [size]).detections

    def set_caps(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Fit the numbers of proposals and detections to images of these heights and widths."""
        caps, rpn = prediction_caps(self.task, self.proposals, sizes), self.module.rpn
        rpn._pre_nms_top_n["testing"] = rpn._post_nms_top_n["testing"] = caps.proposals
        self.module.roi_heads.detections_per_img = caps.detections

    def _to_tensor(self, image: NDArray[np.uint8]) -> Tensor:
        rgb = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        return to_device(rgb.transpose(2, 0, 1), self.device).float() / 255

    def _to_target(self, sample: Sample) -> dict[str, Tensor]:
        instances = sample.instances
        if instances.crowd is not None and instances.crowd.any():
            instances = instances.select(~instances.crowd)
        assert instances.masks is not None, "this engine has no supervision slot: it trains on full masks"
        return {
            "boxes": to_device(instances.boxes.astype(np.float32), self.device),
            "labels": to_device(instances.labels, self.device) + 1,
            "masks": to_device(instances.masks.planes(*sample.size), self.device),
        }


def build(recipe: Recipe, task: Task, options: TorchvisionOptions) -> TorchvisionModel:
    """Build torchvision's Mask R-CNN, version 1 or 2, on task.device.

    From scratch with ordinary batch normalisation, as torchvision does; from COCO with it frozen (version 1). It reads
    the "init" slot, and TorchvisionSettings of task.settings.
    """
    init: Init = recipe.init.build(task)
    settings = TorchvisionSettings.read(task.settings)
    frozen = options.version == 1 and init.kind == "coco"
    module = network(
        classes=len(task.classes),
        version=options.version,
        depth=options.depth,
        width=settings.width,
        mask_width=options.mask_width or settings.width,
        box_head_width=settings.box_head_width,
        anchor_scale=settings.anchor_scale,
        frozen_norm=frozen,
        rpn_batch_size_per_image=settings.anchors_per_image,
        box_batch_size_per_image=settings.rois_per_image,
        rpn_pre_nms_top_n_train=2 * settings.proposals,
        rpn_post_nms_top_n_train=settings.proposals,
    )
    coco = init.kind == "coco"
    mean = IMAGENET_MEAN if coco else [v / 255 for v in task.pixel_mean]
    std = IMAGENET_STD if coco else [v / 255 for v in task.pixel_std]
    module.transform = FixedScaleTransform(settings.scale, mean, std)
    _load(module, init, options.version, options.depth)
    return TorchvisionModel(module.to(task.device), task, settings.scale, settings.proposals)


def network(
    *,
    classes: int,
    version: int,
    depth: int,
    width: int,
    mask_width: int,
    box_head_width: int,
    anchor_scale: float,
    frozen_norm: bool,
    **caps: Any,
) -> MaskRCNN:
    """Mask R-CNN for `classes` classes and background. torchvision's own has width 256 and a box head of 1024."""
    norm = FrozenBatchNorm2d if frozen_norm else nn.BatchNorm2d
    body = getattr(resnet, f"resnet{depth}")(weights=None, norm_layer=norm)
    pyramid_norm = nn.BatchNorm2d if version == 2 else None
    base = body.inplanes // 8
    backbone = BackboneWithFPN(
        body,
        {"layer1": "0", "layer2": "1", "layer3": "2", "layer4": "3"},
        [base, base * 2, base * 4, base * 8],
        width,
        norm_layer=pyramid_norm,
    )
    anchors = AnchorGenerator(
        tuple((round(stride * anchor_scale),) for stride in (4, 8, 16, 32, 64)), ((0.5, 1.0, 2.0),) * 5
    )
    if version == 2:
        box_head: nn.Module = FastRCNNConvFCHead(
            (width, 7, 7), [width] * 4, [box_head_width], norm_layer=nn.BatchNorm2d
        )
    else:
        box_head = TwoMLPHead(width * 7 * 7, box_head_width)
    return MaskRCNN(
        backbone,
        rpn_anchor_generator=anchors,
        rpn_head=RPNHead(width, anchors.num_anchors_per_location()[0], conv_depth=version),
        box_head=box_head,
        box_predictor=FastRCNNPredictor(box_head_width, classes + 1),
        mask_head=MaskRCNNHeads(width, [mask_width] * 4, 1, norm_layer=pyramid_norm),
        mask_predictor=MaskRCNNPredictor(mask_width, mask_width, classes + 1),
        **caps,
    )


def _load(module: MaskRCNN, init: Init, version: int, depth: int) -> None:
    from torchvision.models import ResNet50_Weights
    from torchvision.models.detection import MaskRCNN_ResNet50_FPN_V2_Weights, MaskRCNN_ResNet50_FPN_Weights

    if init.kind == "scratch" or init.restored:
        return
    if init.kind == "checkpoint":
        load_matching(module, read_weights(str(init.path)), str(init.path), CLASS_HEADS)
        return
    if depth != 50 and init.path is None:
        raise HarnessError(f"torchvision has no weights for ResNet-{depth}: give a file, or take --preset standard")
    if init.kind == "imagenet":
        path = init.path or download_weights(ResNet50_Weights.IMAGENET1K_V1.url, "ImageNet ResNet-50")
        load_matching(module.backbone.body, read_weights(path), str(path), ())
        return
    chosen = MaskRCNN_ResNet50_FPN_V2_Weights if version == 2 else MaskRCNN_ResNet50_FPN_Weights
    path = init.path or download_weights(chosen.COCO_V1.url, "COCO Mask R-CNN")
    load_matching(module, read_weights(path), str(path), CLASS_HEADS)
