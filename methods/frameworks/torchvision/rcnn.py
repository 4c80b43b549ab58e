"""torchvision's Mask R-CNN as an engine, as in the public Kaggle starter (docs/methods.md#torchvision-starter)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
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

from harness.contract import Init, LoadedWeights, Predictions, Recipe, Sample, Task
from methods.frameworks.torchvision.ignored import IgnoringRoIHeads, IgnoringRPN
from methods.frameworks.torchvision.initial_weights import Start, load
from methods.frameworks.torchvision.settings import TorchvisionOptions, TorchvisionSettings
from methods.shared.device_transfer import to_device
from methods.shared.paste_masks import paste_crops, resize_boxes
from methods.shared.prediction_caps import just_below, prediction_caps
from methods.shared.tuned_convolutions import tune_in_training

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class NormalizeOnly(GeneralizedRCNNTransform):
    """Normalizes images and leaves their size as it is, a crop or a whole image."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(min_size=1, max_size=1, image_mean=list(mean), image_std=list(std))
        # torchvision makes these anew for each image, and each time waits for the copy to the GPU
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def normalize(self, image: Tensor) -> Tensor:
        normalized: Tensor = (image - self.mean) / self.std
        return normalized

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        return image, target


class TorchvisionModel:
    """torchvision's MaskRCNN behind the Model contract of the harness. Label 0 is its background."""

    def __init__(self, module: MaskRCNN, task: Task, proposals: int, loaded: LoadedWeights | None = None) -> None:
        self.module, self.task, self.proposals, self.loaded = module, task, proposals, loaded
        self.device = torch.device(task.device)
        self.set_caps([])
        tune_in_training(module.backbone)

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, Tensor]:
        return self.module([self._to_tensor(s.image) for s in batch], [self._to_target(s) for s in batch])

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        return self.predict_at(images, [(image.shape[0], image.shape[1]) for image in images])

    @torch.no_grad()
    def predict_at(self, images: Sequence[NDArray[np.uint8]], sizes: Sequence[tuple[int, int]]) -> list[Predictions]:
        """Run the parts one by one: torchvision's own forward ends in a float plane of the image for every box."""
        self.set_caps([(image.shape[0], image.shape[1]) for image in images])
        module = self.module
        batch, _ = module.transform([self._to_tensor(image) for image in images])
        features = module.backbone(batch.tensors)
        proposals, _ = module.rpn(batch, features)
        detections, _ = module.roi_heads(features, proposals, batch.image_sizes)
        predictions = []
        for detection, image, size in zip(detections, images, sizes, strict=True):
            boxes = resize_boxes(detection["boxes"].float(), (image.shape[0], image.shape[1]), size)
            masks, kept = paste_crops(detection["masks"][:, 0].float(), boxes, size)
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
        instances, ignored = sample.instances, np.zeros((0, 4), np.float32)
        if instances.crowd is not None and instances.crowd.any():
            ignored = instances.boxes[instances.crowd].astype(np.float32)
            instances = instances.select(~instances.crowd)
        assert instances.masks is not None, "this engine has no supervision slot: it trains on full masks"
        return {
            "boxes": to_device(instances.boxes.astype(np.float32), self.device),
            "labels": to_device(instances.labels, self.device) + 1,
            "masks": to_device(instances.masks.planes(*sample.size), self.device),
            "ignored": to_device(ignored, self.device),
        }


def build(recipe: Recipe, task: Task, options: TorchvisionOptions) -> TorchvisionModel:
    """Build torchvision's Mask R-CNN, version 1 or 2, on task.device.

    From scratch with ordinary batch normalisation, as torchvision does. With pretrained weights it is frozen in
    version 1, and images are normalised by ImageNet's statistics. It reads the "init" slot, and TorchvisionSettings of
    task.settings.
    """
    init: Init = recipe.init.build(task)
    settings = TorchvisionSettings.read(task.settings)
    start = Start.of(init)
    module = network(
        classes=len(task.classes),
        version=options.version,
        depth=options.depth,
        width=settings.width,
        mask_width=options.mask_width or settings.width,
        box_head_width=settings.box_head_width,
        anchor_scale=settings.anchor_scale,
        anchor_ratios=settings.anchor_ratios,
        frozen_norm=start.frozen_norm(options.version),
        box_score_thresh=just_below(task.minimum_score),
        rpn_batch_size_per_image=settings.anchors_per_image,
        box_batch_size_per_image=settings.rois_per_image,
        rpn_pre_nms_top_n_train=2 * settings.proposals,
        rpn_post_nms_top_n_train=options.train_proposals * settings.proposals,
    )
    scratch = start.kind == "scratch"
    mean = [v / 255 for v in task.pixel_mean] if scratch else IMAGENET_MEAN
    std = [v / 255 for v in task.pixel_std] if scratch else IMAGENET_STD
    module.transform = NormalizeOnly(mean, std)
    start.apply(module)
    loaded = load(module, init, options.version, options.depth, task.classes)
    return TorchvisionModel(module.to(task.device), task, settings.proposals, loaded)


def network(
    *,
    classes: int,
    version: int,
    depth: int,
    width: int,
    mask_width: int,
    box_head_width: int,
    anchor_scale: float,
    anchor_ratios: tuple[float, ...],
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
        tuple((round(stride * anchor_scale),) for stride in (4, 8, 16, 32, 64)), (anchor_ratios,) * 5
    )
    if version == 2:
        box_head: nn.Module = FastRCNNConvFCHead(
            (width, 7, 7), [width] * 4, [box_head_width], norm_layer=nn.BatchNorm2d
        )
    else:
        box_head = TwoMLPHead(width * 7 * 7, box_head_width)
    module = MaskRCNN(
        backbone,
        rpn_anchor_generator=anchors,
        rpn_head=RPNHead(width, anchors.num_anchors_per_location()[0], conv_depth=version),
        box_head=box_head,
        box_predictor=FastRCNNPredictor(box_head_width, classes + 1),
        mask_head=MaskRCNNHeads(width, [mask_width] * 4, 1, norm_layer=pyramid_norm),
        mask_predictor=MaskRCNNPredictor(mask_width, mask_width, classes + 1),
        **caps,
    )
    # torchvision builds both itself and takes no class for them
    module.rpn.__class__, module.roi_heads.__class__ = IgnoringRPN, IgnoringRoIHeads
    return module
