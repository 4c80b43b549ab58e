"""The peer: detectron2 as its own users run it, with the network and the sizes of one of our tasks.

Its zoo's Mask R-CNN config, its dataset dicts, DatasetMapper, train loader, SimpleTrainer and DefaultPredictor, and its
way to write masks down. Set here is what a user sets in a config: numbers of classes, proposals and detections, anchor
sizes, pixel statistics, crop, batch, and GroupNorm for training from scratch. Nothing of ours runs in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from detectron2 import model_zoo
from detectron2.data import DatasetMapper, build_detection_train_loader
from detectron2.data import transforms as T
from detectron2.engine import DefaultPredictor, SimpleTrainer
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.modeling import build_model
from detectron2.solver import build_optimizer
from detectron2.structures import BoxMode, Instances
from detectron2.utils.events import EventStorage
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.config.preset import InputSettings
from harness.contract import Predictions, Sample, Task
from harness.masks.crops import CropMasks
from harness.masks.rle import to_rle
from methods.frameworks.detectron2.settings import Detectron2Settings
from methods.frameworks.detectron2.zoo_weights import ZOO_PREFIXES
from methods.shared.prediction_caps import prediction_caps

ZOO = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"
NO_RESIZE = 0
"""As a shortest edge, detectron2 takes it to mean that the image stays as it is."""


def config(task: Task, size: Literal["small", "full"], batch: int) -> Any:
    """detectron2's config of the network our engine builds from scratch for this task and preset size."""
    settings = Detectron2Settings.read(task.settings)
    scale = InputSettings.read(task.settings).scale
    crop = round(task.crop / scale)
    config = model_zoo.get_config(ZOO)
    model = config.MODEL
    model.WEIGHTS, model.DEVICE = "", task.device
    # from scratch, as the zoo's own scratch configs: GroupNorm, nothing frozen
    model.RESNETS.NORM = model.FPN.NORM = "GN"
    model.RESNETS.STRIDE_IN_1X1 = False
    model.BACKBONE.FREEZE_AT = 0
    if size == "small":
        model.RESNETS.DEPTH, model.RESNETS.RES2_OUT_CHANNELS = 18, 64
        model.ROI_MASK_HEAD.CONV_DIM = 64
    model.FPN.OUT_CHANNELS = settings.width
    if size == "full":
        model.ROI_MASK_HEAD.CONV_DIM = settings.width
    model.ROI_BOX_HEAD.FC_DIM = settings.box_head_width
    model.ROI_HEADS.NUM_CLASSES = len(task.classes)
    model.PIXEL_MEAN, model.PIXEL_STD = list(task.pixel_mean[::-1]), list(task.pixel_std[::-1])

    model.ANCHOR_GENERATOR.SIZES = [[stride * settings.anchor_scale] for stride in (4, 8, 16, 32, 64)]
    model.ANCHOR_GENERATOR.ASPECT_RATIOS = [list(settings.anchor_ratios)]
    model.RPN.BATCH_SIZE_PER_IMAGE = settings.anchors_per_image
    model.ROI_HEADS.BATCH_SIZE_PER_IMAGE = settings.rois_per_image
    proposals, caps = settings.proposals, prediction_caps(task, settings.proposals)
    model.RPN.PRE_NMS_TOPK_TRAIN, model.RPN.POST_NMS_TOPK_TRAIN = 2 * proposals, proposals
    model.RPN.PRE_NMS_TOPK_TEST = model.RPN.POST_NMS_TOPK_TEST = caps.proposals
    config.TEST.DETECTIONS_PER_IMAGE = caps.detections

    config.INPUT.MASK_FORMAT = "bitmask"
    config.INPUT.CROP.ENABLED, config.INPUT.CROP.TYPE = True, "absolute"
    config.INPUT.CROP.SIZE = [crop, crop]
    config.INPUT.MIN_SIZE_TRAIN = (NO_RESIZE if scale == 1 else task.crop,)
    config.INPUT.MIN_SIZE_TEST = NO_RESIZE if scale == 1 else min(task.max_size)
    config.INPUT.MAX_SIZE_TRAIN = config.INPUT.MAX_SIZE_TEST = 1_000_000
    config.SOLVER.IMS_PER_BATCH = batch
    config.DATASETS.TRAIN = config.DATASETS.TEST = ()
    return config


def schedule(config: Any, rate: float, steps: int) -> None:
    """The zoo's SGD schedule scaled to that many steps: two steps down where its own are.

    Its warm-up of 1,000 steps in 270,000 would be a step or two; a twentieth is taken, which suits it better.
    """
    solver = config.SOLVER
    drops = [round(steps * at / solver.MAX_ITER) for at in solver.STEPS]
    solver.BASE_LR, solver.MAX_ITER, solver.STEPS, solver.WARMUP_ITERS = rate, steps, drops, max(1, steps // 20)


def mapper(config: Any) -> DatasetMapper:
    """detectron2's mapper; a crop, the resize and a flip each way, the latter more than the config can say."""
    flips = [T.RandomFlip(0.5, horizontal=True, vertical=False), T.RandomFlip(0.5, horizontal=False, vertical=True)]
    resize = T.ResizeShortestEdge(config.INPUT.MIN_SIZE_TRAIN, config.INPUT.MAX_SIZE_TRAIN, "choice")
    crop = T.RandomCrop(config.INPUT.CROP.TYPE, config.INPUT.CROP.SIZE)
    return DatasetMapper(config, is_train=True, augmentations=[crop, resize, *flips])


def loader(config: Any, entries: list[dict[str, Any]], workers: int) -> Any:
    """Batches for training, without end."""
    return build_detection_train_loader(
        entries, mapper=mapper(config), total_batch_size=config.SOLVER.IMS_PER_BATCH, num_workers=workers
    )


def trainer(config: Any, batches: Any, weights: Mapping[str, Tensor] | None = None) -> SimpleTrainer:
    """A new network with detectron2's optimiser and its simple trainer, ready for `step`."""
    model = build_model(config)
    if weights is not None:
        model.load_state_dict(weights)
    simple = SimpleTrainer(model, batches, build_optimizer(config, model))
    simple.iter = simple.start_iter = 0
    return simple


def step(simple: SimpleTrainer) -> None:
    """One step of its loop: data, forward, losses, backward, optimiser."""
    with EventStorage(simple.iter) as simple.storage:
        simple.run_step()
    simple.iter += 1


def predictor(config: Any, weights: Mapping[str, Tensor]) -> DefaultPredictor:
    """Takes an (H, W, 3) BGR image, gives a dict with "instances"."""
    default = DefaultPredictor(config)
    default.model.load_state_dict(weights)
    return default


def stored(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a predictor found as its COCO evaluator keeps it: a run-length text from pycocotools for each mask."""
    return list(instances_to_coco_json(found["instances"].to("cpu"), 0))


def weights_of(ours: nn.Module) -> dict[str, Tensor]:
    """Our network's weights under the names that detectron2 gives the same layers."""
    return {their_name(name): value for name, value in ours.state_dict().items()}


def their_name(name: str) -> str:
    for theirs, here in ZOO_PREFIXES:
        if name.startswith(here):
            return theirs + name.removeprefix(here)
    return name


def bgr(sample: Sample) -> NDArray[np.uint8]:
    """The sample's pixels as cv2.imread gives an image file's."""
    image = sample.image
    return np.ascontiguousarray(image[..., ::-1] if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2))


def written(samples: Sequence[Sample], folder: Path) -> list[Path]:
    """PNG files of the samples' images, in `folder`."""
    files = [folder / f"{i}.png" for i in range(len(samples))]
    for sample, file in zip(samples, files, strict=True):
        cv2.imwrite(str(file), bgr(sample))
    return files


def dataset_dicts(
    samples: Sequence[Sample], files: Sequence[Path], mask_format: Literal["bitmask", "polygon"] = "bitmask"
) -> list[dict[str, Any]]:
    """detectron2's standard form of the samples, whose images lie in the files; masks as run lengths or polygons."""
    entries = []
    for sample, file in zip(samples, files, strict=True):
        height, width = sample.size
        cells, masks = sample.instances, sample.instances.masks
        assert masks is not None
        if mask_format == "polygon":
            segmentations: list[Any] = [outlines(box, crop) for box, crop in zip(masks.boxes, masks, strict=True)]
        else:
            segmentations = [{"size": [height, width], "counts": runs} for runs in to_rle(masks, height, width)]
        annotations = [
            {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": int(label), "segmentation": segmentation}
            for box, label, segmentation in zip(cells.boxes.tolist(), cells.labels, segmentations, strict=True)
            if segmentation
        ]
        facts = {"file_name": str(file), "image_id": sample.image_id, "height": height, "width": width}
        entries.append({**facts, "annotations": annotations})
    return entries


def outlines(box: NDArray[np.int32], crop: NDArray[np.uint8]) -> list[list[int]]:
    """Polygons around a cropped mask, in the image's coordinates."""
    found, _ = cv2.findContours(np.pad(crop, 1), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [(outline[:, 0] + box[:2] - 1).ravel().tolist() for outline in found if len(outline) >= 3]


def as_predictions(found: Instances, size: tuple[int, int]) -> Predictions:
    """What a predictor found, for our scorer."""
    found = found.to("cpu")
    planes = found.pred_masks.numpy()
    kept = np.flatnonzero(planes.any(axis=(1, 2)))
    masks = CropMasks.from_planes(planes[kept]) if len(kept) else CropMasks.empty()
    scores = found.scores.numpy()[kept].astype(np.float32)
    return Predictions(size, masks, scores, found.pred_classes.numpy()[kept].astype(np.int64))
