"""The engine of the baseline: detectron2's generalized R-CNN, assembled from the parts of a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.backbone import FPN, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from detectron2.structures import ImageList
from detectron2.structures import Instances as D2Instances
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.contract import Init, LoadedWeights, PointPredictions, Predictions, Recipe, Sample, Task
from methods.frameworks.detectron2 import zoo_weights
from methods.frameworks.detectron2.instance_batch import InstanceBatch
from methods.frameworks.detectron2.matching import match_step
from methods.frameworks.detectron2.resnet import is_zoo_like, zoo_config
from methods.frameworks.detectron2.roi_heads import RoIHeads, box_branch_arguments, feature_names
from methods.frameworks.detectron2.rpn import RPN, RPNOutputs
from methods.frameworks.detectron2.settings import Detectron2Options, Detectron2Settings
from methods.shared.compiled import FUSE_ALL, CompiledWithFallback, CompileStatus, compile_blocks
from methods.shared.device_transfer import to_device
from methods.shared.mask_heads import DenseField
from methods.shared.paste_masks import paste_crops, resize_boxes
from methods.shared.prediction_caps import just_below, prediction_caps
from methods.shared.pretrained import IMAGENET_MEAN, IMAGENET_STD
from methods.shared.small_maps import SmallMapConv2d, convolve, use_small_map_products
from methods.shared.tuned_convolutions import tune_backward, tuned_convolutions


class BottomUp(Backbone):
    """The backbone part of a recipe behind detectron2's interface. letter: of its feature names, "p" or "c"."""

    def __init__(self, body: Any, letter: str) -> None:
        super().__init__()
        self.body = body
        self._out_features = feature_names(body.strides, letter)
        self._out_feature_strides = dict(zip(self._out_features, body.strides, strict=True))
        self._out_feature_channels = dict(zip(self._out_features, body.channels, strict=True))

    @property
    def size_divisibility(self) -> int:
        return int(self.body.pad_to)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return dict(zip(self._out_features, self.body(images), strict=True))

    def compiled_blocks(self) -> list[nn.Module]:
        """The blocks that the backbone names, or the backbone as a whole."""
        return list(self.body.compiled_blocks()) if hasattr(self.body, "compiled_blocks") else [self.body]


class PaddedFPN(FPN):
    """detectron2's FPN that also pads images to the multiple that its bottom-up needs."""

    @property
    def size_divisibility(self) -> int:
        return max(super().size_divisibility, self.bottom_up.size_divisibility)

    def compiled_blocks(self) -> list[nn.Module]:
        """The blocks of the backbone and the convolutions of the pyramid with their norms."""
        return [*self.bottom_up.compiled_blocks(), *self.lateral_convs, *self.output_convs]


class SmallMapNormedConv2d(Conv2d):
    """detectron2's convolution with norm and activation, through `convolve`."""

    def forward(self, x: Tensor) -> Tensor:
        x = convolve(self, x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.activation is None else self.activation(x)


class RCNN(GeneralizedRCNN):
    """detectron2's, with arrays as input and a training step for all images at once.

    Args:
        channel_order: Of the colour channels, as in the pretrained weights of the backbone.
        train_scales: Factors from which one is drawn for each batch in training, to resize its crops; none for 1.
        compiled: Whether the parts of a training step whose shapes do not change are compiled.
        parts: Arguments of GeneralizedRCNN.
    """

    def __init__(
        self,
        *,
        channel_order: Literal["BGR", "RGB"],
        train_scales: Sequence[float] = (),
        compiled: bool,
        **parts: Any,
    ) -> None:
        super().__init__(input_format=channel_order, **parts)
        self.channel_order, self.train_scales = channel_order, tuple(train_scales)
        self.compile_status = CompileStatus()
        if compiled:
            self._compile()

    def _compile(self) -> None:
        """Compile the blocks of the backbone, the convolutions of the pyramid, the RPN's head, and matching."""
        blocks = [*self.backbone.compiled_blocks(), self.proposal_generator.rpn_head]
        self.compiled = compile_blocks(blocks, self.compile_status)
        matching = CompiledWithFallback(match_step, status=self.compile_status, dynamic=False, options=FUSE_ALL)
        self.compiled.append(matching)
        self.proposal_generator.match_step = matching

    def preprocess(self, arrays: Sequence[NDArray[np.uint8]], scale: float = 1.0) -> ImageList:
        """(B, 3, H, W) normalized images, resized by a factor and padded at the right and bottom to one size."""
        if len({array.shape for array in arrays}) == 1:
            batches = [self._normalize(np.stack(arrays), scale)]
        else:
            batches = [self._normalize(array[None], scale) for array in arrays]
        sizes = [tuple(batch.shape[-2:]) for batch in batches for _ in batch]
        multiple = max(1, self.backbone.size_divisibility)
        height, width = (-(-max(sides) // multiple) * multiple for sides in zip(*sizes, strict=True))
        padded = [F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2])) for x in batches]
        images = ImageList(padded[0] if len(padded) == 1 else torch.cat(padded), sizes)
        if not self.training or images.device.type == "cuda":
            # on a CPU this layout makes prediction faster and training slower
            images.tensor = images.tensor.contiguous(memory_format=torch.channels_last)
        return images

    def _normalize(self, arrays: NDArray[np.uint8], scale: float) -> Tensor:
        """(B, 3, H, W) float32 of (B, H, W) or (B, H, W, 3) images of one size."""
        pixels = to_device(arrays, self.device)
        planes = pixels.permute(0, 3, 1, 2) if pixels.dim() == 4 else pixels[:, None]
        if self.channel_order == "BGR" and pixels.dim() == 4:
            planes = planes.flip(1)
        planes = planes.float()
        if scale != 1:
            planes = F.interpolate(planes, scale_factor=scale, mode="bilinear", align_corners=False)
        return (planes - self.pixel_mean) / self.pixel_std

    def compute_losses(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """The losses of the proposal network, the box branch and the mask branch, by name."""
        scale = self.training_scale()
        images = self.preprocess([sample.image for sample in samples], scale)
        instances = InstanceBatch.from_samples(samples, scale, self.device)
        rpn: RPN = self.proposal_generator
        with tuned_convolutions():
            features, outputs = self.dense_forward(images.tensor)
        tune_backward((features, outputs))
        anchors = rpn.anchors([features[name] for name in rpn.in_features])
        losses = rpn.compute_losses(outputs, anchors, instances)
        proposals = rpn.select_proposals(outputs, anchors, images.image_sizes)
        return {**losses, **self.roi_heads.compute_losses(features, proposals, instances)}

    def training_scale(self) -> float:
        """The factor by which the images of the next batch are resized."""
        if not self.train_scales:
            return 1.0
        return self.train_scales[int(torch.randint(len(self.train_scales), ()))]

    def dense_forward(self, images: Tensor) -> tuple[dict[str, Tensor], RPNOutputs]:
        """The feature pyramid, and the outputs of the proposal network on it."""
        features = self.backbone(images)
        return features, self.proposal_generator.outputs([features[n] for n in self.proposal_generator.in_features])

    def detect(self, arrays: Sequence[NDArray[np.uint8]]) -> list[D2Instances]:
        """Detections of each image, in pixels of the network's input."""
        images = self.preprocess(arrays)
        features = self.backbone(images.tensor)
        proposals, _ = self.proposal_generator(images, features)
        detections: list[D2Instances] = self.roi_heads(images, features, proposals)[0]
        return detections


class Detectron2Model:
    """An RCNN behind the Model contract of the harness. Predictions are in pixels of the images."""

    def __init__(self, module: RCNN, task: Task, proposals: int, loaded: LoadedWeights | None = None) -> None:
        self.module, self.task, self.proposals, self.loaded = module, task, proposals, loaded
        self.set_caps([])

    @property
    def notes(self) -> list[str]:
        """Why a network that should be compiled is not."""
        return self.module.compile_status.notes

    @property
    def compile_limit(self) -> float:
        """Most seconds to spend on compiling; what is not compiled then runs as it is."""
        return self.module.compile_status.limit

    @compile_limit.setter
    def compile_limit(self, seconds: float) -> None:
        self.module.compile_status.limit = seconds

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, Tensor]:
        return self.module.compute_losses(batch)

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        return self.predict_at(images, [(image.shape[0], image.shape[1]) for image in images])

    @torch.no_grad()
    def predict_at(self, images: Sequence[NDArray[np.uint8]], sizes: Sequence[tuple[int, int]]) -> list[Predictions]:
        self.set_caps([(image.shape[0], image.shape[1]) for image in images])
        detections = self.module.detect(images)
        return [_to_predictions(x, size) for x, size in zip(detections, sizes, strict=True)]

    @torch.no_grad()
    def predict_points(
        self, images: Sequence[NDArray[np.uint8]], count: int, rng: np.random.Generator
    ) -> list[PointPredictions]:
        self.set_caps([(image.shape[0], image.shape[1]) for image in images])
        return [_to_points(detections, count, rng) for detections in self.module.detect(images)]

    def max_detections(self, size: tuple[int, int]) -> int:
        """The most detections of an image of that height and width."""
        return prediction_caps(self.task, self.proposals, [size]).detections

    def set_caps(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Fit the numbers of proposals and detections to images of these heights and widths."""
        caps, rpn = prediction_caps(self.task, self.proposals, sizes), self.module.proposal_generator
        rpn.pre_nms_topk[False] = rpn.post_nms_topk[False] = caps.proposals
        self.module.roi_heads.box_predictor.test_topk_per_image = caps.detections


def _to_predictions(detections: D2Instances, size: tuple[int, int]) -> Predictions:
    """Detections of an image of any size, as predictions for that image resized to `size`."""
    boxes = resize_boxes(detections.pred_boxes.tensor.float(), detections.image_size, size)
    masks, kept = paste_crops(detections.pred_masks, boxes, size)
    scores = detections.scores.float().cpu().numpy()[kept].clip(0, 1)
    return Predictions(size, masks, scores.astype(np.float32), detections.pred_classes.cpu().numpy()[kept])


def _to_points(detections: D2Instances, count: int, rng: np.random.Generator) -> PointPredictions:
    """Detections with their masks at `count` uniformly random points of each box."""
    boxes, grids = detections.pred_boxes.tensor.float(), detections.pred_masks.float()
    places = torch.from_numpy(rng.random((len(boxes), count, 2), dtype=np.float32)).to(boxes.device)
    points = boxes[:, None, :2] + places * (boxes[:, 2:] - boxes[:, :2])[:, None]
    # grid_sample takes no empty batch
    inside = DenseField(grids[:, None]).at(places, detections.pred_classes) if len(boxes) else places[..., 0]
    arrays = (boxes, detections.scores.float(), detections.pred_classes, points, inside)
    found_boxes, scores, labels, found_points, probabilities = (array.cpu().numpy() for array in arrays)
    return PointPredictions(found_boxes, scores.clip(0, 1), labels, found_points, probabilities)


def build(recipe: Recipe, task: Task, options: Detectron2Options) -> Detectron2Model:
    """Build the network of a recipe on task.device. Of task.settings it reads Detectron2Settings."""
    init: Init = recipe.init.build(task)
    settings = Detectron2Settings.read(task.settings)
    body = recipe.backbone.build(task, init=init)
    zoo_like, zoo = is_zoo_like(init), getattr(body, "config", None)
    config = _config(task, settings, options, zoo or zoo_config(50), zoo_like)
    order: Literal["BGR", "RGB"] = config.INPUT.FORMAT if zoo and zoo_like else "RGB"
    if not zoo_like:
        mean, std = task.pixel_mean, task.pixel_std
    elif zoo:
        mean, std = config.MODEL.PIXEL_MEAN, config.MODEL.PIXEL_STD
    else:
        mean, std = getattr(body, "pixel_mean", IMAGENET_MEAN), getattr(body, "pixel_std", IMAGENET_STD)

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
    config.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS = [list(settings.anchor_ratios)]

    head = recipe.mask_head.build(
        task, channels=shapes[names[0]].channels, strides=tuple(shapes[n].stride for n in names[:-1])
    )
    module = RCNN(
        backbone=backbone,
        proposal_generator=RPN(config, shapes),
        roi_heads=RoIHeads(
            mask_head=head,
            supervision=recipe.supervision.build(task),
            **box_branch_arguments(config, shapes),
        ),
        pixel_mean=mean,
        pixel_std=std,
        channel_order=order,
        train_scales=settings.train_scales,
        compiled=settings.compile,
    ).to(task.device)
    if module.device.type == "cuda":
        module.to(memory_format=torch.channels_last)
    use_small_map_products(module, {nn.Conv2d: SmallMapConv2d, Conv2d: SmallMapNormedConv2d})
    loaded = zoo_weights.load(module, init, recipe.backbone, task.classes)
    return Detectron2Model(module, task, settings.proposals, loaded)


def _config(task: Task, settings: Detectron2Settings, options: Detectron2Options, config: Any, zoo_like: bool) -> Any:
    """The zoo's config with what the data, the preset, the options and the initial weights change in it."""
    model = config.MODEL
    model.FPN.OUT_CHANNELS = settings.width
    model.RPN.CONV_DIMS = [-1]
    model.RPN.BATCH_SIZE_PER_IMAGE = settings.anchors_per_image
    model.RPN.PRE_NMS_TOPK_TRAIN = 2 * settings.proposals
    model.RPN.POST_NMS_TOPK_TRAIN = settings.proposals
    model.ROI_HEADS.NUM_CLASSES = len(task.classes)
    model.ROI_HEADS.BATCH_SIZE_PER_IMAGE = settings.rois_per_image
    model.ROI_HEADS.SCORE_THRESH_TEST = just_below(task.minimum_score)
    model.ROI_BOX_HEAD.FC_DIM = settings.box_head_width
    if options.heads == "scratch_gn":
        # configs/Misc/scratch_mask_rcnn_R_50_FPN_3x_gn.yaml
        box = model.ROI_BOX_HEAD
        box.NUM_CONV, box.NUM_FC, box.CONV_DIM, box.NORM = 4, 1, settings.width, "GN"
    if not zoo_like:
        model.FPN.NORM = "GN"
    return config
