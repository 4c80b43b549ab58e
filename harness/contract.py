"""The types that pass through the harness, and what a method must provide. Read this file first.

A *method* is a change to a *recipe*. A recipe has five slots. The baseline fills all of them, and every other method
changes one. An *engine* turns a recipe into a *model*, which computes losses and predictions. The harness trains, times
and scores models, writes records, and knows nothing else of them.

    source - Sample - augment - batch - Model.losses - step - checkpoint
    checkpoint - Model.predict - Predictions - score - record - table

To add a method, put one file into `methods/`, or name a module under the entry-point group "harness.methods". It holds
`METHOD = Method(...)` or `METHODS = (...)`. No other file changes. `python -m harness new-method` writes one that runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.masks.crops import CropMasks
from harness.options import Options, Settings, options_type_of, validate

if TYPE_CHECKING:
    import torch

SLOTS = ("init", "backbone", "mask_head", "supervision", "augment")
"""The five slots of a recipe, in the order in which they act."""

# ------------------------------------------------------------------------------------------------ data


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """The N annotated cells of one image.

    boxes: (N, 4) int32, x0 y0 x1 y1 in pixels, half open, inside the image, at least one pixel wide and high.
    labels: (N,) int64, index into the data set's classes.
    masks: N masks, tight on their boxes. None if supervision has removed them (point labels).
    points: (N, P, 2) float32, x y in continuous pixel coordinates: the centre of the first pixel is 0.5. Or None.
    point_labels: (N, P) int8: 1 inside the cell, 0 outside, -1 to be ignored. Or None.
    crowd: (N,) bool, a region to be ignored, such as many cells without outlines, or what may be a cell. It is trained
        neither as a cell nor as background, and ignored by the scorer. None for no such region.
    """

    boxes: NDArray[np.int32]
    labels: NDArray[np.int64]
    masks: CropMasks | None
    points: NDArray[np.float32] | None = None
    point_labels: NDArray[np.int8] | None = None
    crowd: NDArray[np.bool_] | None = None

    @staticmethod
    def of_masks(masks: CropMasks, labels: NDArray[np.integer], crowd: NDArray[np.bool_] | None = None) -> Instances:
        """Instances with the boxes of their masks, which must be tight."""
        return Instances(masks.boxes, np.asarray(labels, np.int64), masks, crowd=crowd)

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, index: NDArray[np.integer] | NDArray[np.bool_]) -> Instances:
        """The instances at the given indices, in that order, or where a boolean array is true."""
        return Instances(
            self.boxes[index],
            self.labels[index],
            None if self.masks is None else self.masks.select(index),
            None if self.points is None else self.points[index],
            None if self.point_labels is None else self.point_labels[index],
            None if self.crowd is None else self.crowd[index],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One image with its cells. Sources and augmentations return samples.

    image: (H, W) or (H, W, 3) uint8, grey or RGB. Read only: an augmentation makes a new array.
    cell_type: the type of most of its cells. Splits are balanced over it.
    group: images of one group, such as a well of a plate, stay on one side of a split. None if unknown.
    labelled: False for an image that nobody has annotated. It then has no instances, or those that a model has found.
    """

    image_id: str
    image: NDArray[np.uint8]
    instances: Instances
    cell_type: str | None = None
    group: str | None = None
    labelled: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]

    def with_(self, **changes: Any) -> Sample:
        """A copy with other values of some fields."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The N predictions of a model for one image, before post-processing: in any order, overlaps allowed.

    size: height and width of the image in pixels.
    masks: N masks in pixels of the image, none empty. Made by `CropMasks.from_label_image` (one label image),
        `from_crops` (boxes, and a mask inside each), `from_planes` (N masks as large as the image) or `empty`.
    scores: (N,) float32 in [0, 1].
    labels: (N,) int64, index into the data set's classes.
    """

    size: tuple[int, int]
    masks: CropMasks
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)


# ------------------------------------------------------------------------------------- what a method provides


@dataclass(frozen=True)
class Part:
    """What fills one slot of a recipe: a name for people, a function that builds it, and its options.

    name: shown in tables, written into the record.
    factory: "package.module:function". It is imported only when the part is built, so listing methods loads no
        framework. It is called as function(task, ...); what it must return depends on the slot:

        - init: an `Init`. A method whose weights are a file sets `find_weights`, and `INIT` as the factory.
        - backbone: a torch module with `strides` and `channels` (tuples, one entry per output, fine to coarse) and
          `pad_to` (its input's sides must be multiples of it). forward takes (B, 3, H, W) float and gives one map per
          stride. Where `channels` differ from level to level, the engine adds a feature pyramid on top. It may have
          `pixel_mean` and `pixel_std` (RGB, 0 to 255), what its pretrained weights were trained with; without them
          that is ImageNet's. Called with init=Init besides.
        - mask_head: see methods/shared/mask_heads.py. Called with channels= and strides= besides.
        - supervision: see methods/shared/supervision.py.
        - augment: an `Augment` or a sequence of them.
        - engine: a `Model`. Called as function(recipe, task, ...).

    options: JSON values. They are written into the record and decide whether two trials are the same work.
    sizes: options by preset size ("small", "full"), laid over `options`; where there is no entry, nothing changes.
    options_type: the class of the options, a subclass of `Options`. The factory then takes one argument `options` of
        that class, and `options` and `sizes` hold only what differs from its defaults. Without it the options are the
        factory's keyword arguments.
    settings: of an engine, what it reads of a preset's [model] table.
    find_weights: of an init, "package.module:function". It is called when a run is planned, before anything trains, as
        function(recipe, options, seed, settings) with the stack's recipe, the part's options, the trial's seed and the
        preset's [model] table, and returns `StartingWeights`. It raises NoWeightsError where there are none for this
        network: the trial is then skipped. Any other HarnessError ends the run before it starts. It loads no framework.
    """

    name: str
    factory: str
    options: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    options_type: type[Options] | None = None
    settings: type[Settings] | None = None
    find_weights: str = ""

    def sized(self, size: str) -> Part:
        """The part with the options of one preset size laid over its own."""
        return replace(self, options={**self.options, **self.sizes.get(size, {})}, sizes={})

    def with_options(self, **options: Any) -> Part:
        return replace(self, options={**self.options, **options}, sizes={})

    def checked(self, where: str = "") -> Part:
        """The part with its options as a record holds them.

        Raises HarnessError, one line that begins with `where`, if an option is unknown or outside its range.
        """
        if self.options_type is None:
            return self
        return replace(self, options=validate(self.options_type, self.options, where).recorded())

    def build(self, *args: Any, **more: Any) -> Any:
        """Import the factory and call it. Raises HarnessError if it cannot be found or an option is wrong."""
        factory = self.load()
        kind = self.options_type or options_type_of(factory)
        if kind is None:
            return factory(*args, **{**self.options, **more})
        return factory(*args, validate(kind, self.options, f"{self.name}: "), **more)

    def find(self, recipe: Recipe, seed: int, settings: Mapping[str, Any]) -> StartingWeights:
        """The weights of an init with `find_weights`. Raises HarnessError; NoWeightsError where there are none."""
        options: Any = dict(self.options)
        if self.options_type is not None:
            options = validate(self.options_type, self.options, f"{self.name}: ")
        found: StartingWeights = self._imported(self.find_weights)(recipe, options, seed, settings)
        return found

    def load(self) -> Callable[..., Any]:
        """The factory itself. Raises HarnessError if it cannot be found."""
        return self._imported(self.factory)

    def _imported(self, name: str) -> Callable[..., Any]:
        module_name, _, function_name = name.partition(":")
        try:
            function: Callable[..., Any] = getattr(import_module(module_name), function_name)
        except ModuleNotFoundError as error:
            missing = (error.name or "").split(".")[0]
            if missing == module_name.split(".")[0]:
                raise HarnessError(f"part {self.name!r} names a module that is not there: {module_name}") from error
            raise HarnessError(
                f"part {self.name!r} needs the package {missing!r}; `python -m harness doctor` prints how to get it"
            ) from error
        except AttributeError as error:
            raise HarnessError(f"part {self.name!r}: {module_name} has no {function_name!r}") from error
        return function


InitKind = Literal["scratch", "imagenet", "coco", "checkpoint"]
"""What initial weights are of: nothing, a backbone, a whole published model but for its class heads, or a whole model
that this harness trained."""

INIT = "harness.contract:_init"
"""The factory of every init whose weights are a file or a download."""


@dataclass(frozen=True)
class Init:
    """Where weights start.

    path: the file; None for a download.
    restored: True if the harness loads weights of a finished run after the model is built. The engine must then build
        the same network as for training, and load nothing. path is then the file of those weights.
    sha256: of the file, in hexadecimal; empty where it is not known.
    classes: of the data that the weights were trained on, in the order of labels; empty where they are not known.
    new_parts: slots of the network, such as "mask_head", whose weights the file does not have for it. The engine leaves
        them new, whatever the file holds under their names.
    """

    kind: InitKind = "scratch"
    path: str | None = None
    restored: bool = False
    sha256: str = ""
    classes: tuple[str, ...] = ()
    new_parts: tuple[str, ...] = ()

    @property
    def pretrained(self) -> bool:
        return self.kind != "scratch"


@dataclass(frozen=True)
class StartingWeights:
    """The weights that a trial starts from, found when the run is planned. All but the folders goes into the record.

    path: the file; None where the engine downloads it. Its SHA-256 is part of what makes two trials the same work.
    source: what the weights were trained on, in words, without private folders and without the seed.
    seed: of the training that made them; None for weights that no seed of a run has made.
    classes: of the data they were trained on, in the order of labels; empty where they are not known.
    data_fingerprint, split_fingerprint: of those data and of their parts, for weights that a run has made.
    train_seconds: on the training clock, from scratch to these weights; None where it is not known.
    cell_diameter: median of the cells they were trained on, in pixels of the network's input; 0 where it is not known.
    scale: factor by which images of the new data are resized so that their cells have that diameter; "match" to find
        it, None to keep that of the preset.
    anchors: "anchor_scale" and "anchor_ratios" of the [model] table that they were trained with. A preset that is
        fitted to the data takes them over, since heads know their own anchors. Empty where they are not known.
    licence: of the weights; empty where it is not known.
    new_parts: slots of the network whose weights the file does not have for it, such as "mask_head". They start new.
    """

    kind: InitKind
    path: str | None = None
    source: str = ""
    seed: int | None = None
    classes: tuple[str, ...] = ()
    data_fingerprint: str = ""
    split_fingerprint: str = ""
    train_seconds: float | None = None
    cell_diameter: float = 0.0
    scale: float | Literal["match"] | None = None
    anchors: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    new_parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadedWeights:
    """What a model took over from the weights that it started from, and how it reads images. Goes into the record.

    groups: tensors by the beginning of their names, and how many of them are "kept", "tiled" (one class for many),
        "partly kept" (some classes) or "new".
    classes: what became of the weights of each class of the data: "kept", "tiled from NAME" or "new".
    pixel_mean, pixel_std: what images are normalised with, 0 to 255, in the order of the channels.
    channel_order: "RGB" or "BGR"; empty for grey.
    stride_in_1x1: of a ResNet with bottlenecks, whether the stride is in the first 1x1 convolution; None for others.
    """

    groups: Mapping[str, Mapping[str, int]]
    classes: Mapping[str, str] = field(default_factory=dict)
    pixel_mean: tuple[float, ...] = ()
    pixel_std: tuple[float, ...] = ()
    channel_order: str = ""
    stride_in_1x1: bool | None = None


def init_part(kind: str, path: str | None = None, name: str = "", **facts: Any) -> Part:
    """The part of the init slot for weights of a kind. facts: further fields of `Init`."""
    return Part(name or kind, INIT, {"kind": kind, "path": path, **facts})


def _init(
    task: Task,
    kind: InitKind,
    path: str | None = None,
    restored: bool = False,
    sha256: str = "",
    classes: Sequence[str] = (),
    new_parts: Sequence[str] = (),
) -> Init:
    return Init(kind, path, restored, sha256, tuple(classes), tuple(new_parts))


@dataclass(frozen=True)
class Recipe:
    """The parts of the five slots, and the engine that turns them into a model. Written into every record."""

    engine: Part
    init: Part
    backbone: Part
    mask_head: Part
    supervision: Part
    augment: Part

    def with_parts(self, **parts: Part) -> Recipe:
        """A copy with other parts in some slots."""
        return replace(self, **parts)


POLYGON_SECONDS, BOX_SECONDS, POINT_SECONDS = 79.2, 7.0, 0.9
"""What an annotator takes for an object's outline, for its box, and for a point that is inside or outside of it (Cheng,
Parkhi, Kirillov 2022, arXiv 2104.06404)."""


@dataclass(frozen=True)
class Card:
    """What a person should know of a method. `python -m harness methods NAME` prints it.

    changes: one sentence on what the method does to the recipe.
    labels: what an annotator must draw, e.g. "full masks" or "boxes and 10 points a cell".
    label_seconds: what an annotator takes to draw `labels` for one object, or a function from the options of the
        method's part to it.
    also_reads: labels that the method's own part reads even if the loss sees less, e.g. "full masks, to paste". Shown
        in the row of such a stack.
    departures: where and why the method differs from the paper.
    published: facts of the paper to compare with, e.g. {"parameters (80 classes)": "44,343,216"}.
    """

    title: str
    paper: str
    year: int
    venue: str
    changes: str
    labels: str = "full masks"
    label_seconds: float | Callable[[Mapping[str, Any]], float] = POLYGON_SECONDS
    also_reads: str = ""
    departures: tuple[str, ...] = ()
    published: Mapping[str, str] = field(default_factory=dict)
    url: str = ""


@dataclass(frozen=True)
class Method:
    """A name on the command line, and the parts it puts into a recipe.

    parts: part by slot, or by "engine". A method fills one slot; the baseline fills all and the engine.
    default: whether `--methods all` includes it.
    baseline: True for one method of the catalogue, whose parts fill the slots that a stack does not change.
    supported_slots: of a method with an engine: the slots that the engine reads. Other methods can change only these.
    expected_failures: checks of harness.conformance that the method cannot pass, each with the reason.
    skip: called before a run starts. It returns one line on why the method cannot run here, or None.
    needs: top-level modules that only this method imports, each with the command that installs it. A method with one
        missing is not part of `all`.
    reads_unlabelled: whether its supervision learns from images without labels (see `Learner`).
    """

    name: str
    card: Card
    parts: Mapping[str, Part]
    default: bool = True
    baseline: bool = False
    supported_slots: tuple[str, ...] = SLOTS
    expected_failures: Mapping[str, str] = field(default_factory=dict)
    skip: Callable[[], str | None] | None = None
    needs: Mapping[str, str] = field(default_factory=dict)
    reads_unlabelled: bool = False

    def missing(self) -> dict[str, str]:
        """Those of `needs` that are not installed. Imports nothing."""
        return {module: command for module, command in self.needs.items() if find_spec(module) is None}

    def unavailable(self) -> str | None:
        """Why the method cannot run on this machine, in one line; None if it can."""
        for module, command in self.missing().items():
            return f"it needs the package {module}, which is not installed; type: {command}"
        return self.skip() if self.skip is not None else None


@dataclass(frozen=True)
class Task:
    """What a part may know of the data and the machine when it is built. Nothing in it is from the validation images.

    classes: names, in the order of labels.
    pixel_mean, pixel_std: of the training images, for each channel (RGB), 0 to 255.
    crop: side of a training crop in pixels, as the model sees it.
    max_cells: largest number of cells on one training image, or on a tile of one that is predicted in tiles. Limits on
        detections follow from it.
    max_size: largest height and width of these images and tiles, in pixels, as the model sees them.
    settings: the preset's [model] table, the same for all methods. An engine reads it with `Settings.read`.
    cell_diameter: median over the cells of the training images of the diameter of a circle of the same area, in
        pixels as the model sees them. 0 where it is not known.
    largest_cell: longer side of the largest box of a training cell, in pixels of the images. 0 where it is not
        known.
    minimum_score: predictions with a lower score are dropped, so a model need not find their masks.
    """

    classes: tuple[str, ...]
    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]
    crop: int
    max_cells: int
    max_size: tuple[int, int]
    seed: int = 0
    device: str = "cpu"
    settings: Mapping[str, Any] = field(default_factory=dict)
    cell_diameter: float = 0.0
    largest_cell: int = 0
    minimum_score: float = 0.05


class Pool(Protocol):
    """The other training images, for augmentations that mix images."""

    def draw(self, rng: np.random.Generator, cell_type: str | None = None) -> Sample:
        """A random training sample after the augmentations that come before the calling one.

        It has the given cell type if there is such an image.
        """
        ...


class Augment(Protocol):
    """From sample to sample, with all randomness from `rng`.

    needs_masks: True if it reads masks, which supervision then removes after augmentation instead of before.
    """

    needs_masks: bool

    def __call__(self, sample: Sample, rng: np.random.Generator, pool: Pool) -> Sample: ...


@dataclass(frozen=True, slots=True, eq=False)
class PointPredictions:
    """The N predictions of a model for one image, each with its mask at P random points of its box.

    boxes: (N, 4) float32, x0 y0 x1 y1 in pixels of the image.
    scores: (N,) float32 in [0, 1]. labels: (N,) int64, index into the data set's classes.
    points: (N, P, 2) float32, x y as in `Instances`.
    probabilities: (N, P) float32 in [0, 1], that the point is inside the cell.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    points: NDArray[np.float32]
    probabilities: NDArray[np.float32]


class Model(Protocol):
    """What an engine builds. The harness trains it, times it, saves it and asks it for predictions.

    module: holds every parameter and buffer, on task.device. Its state_dict is the checkpoint.

    A model that learns nothing has a module without trainable parameters. It does no training step, `losses` is never
    called, and the checks of conformance that need gradients do not apply. Such a model may have a method
    `fit(samples)`. It is called once in place of training, with the training images as they are, and may set buffers
    of the module from them. Its time counts as training time; the samples end where the budget is spent.

    A preset may have images resized for all methods (`model.scale`). A model may then have a method
    `predict_at(images, sizes)`, which is `predict` with the masks drawn at other sizes (height, width) than those of
    the images. Without it the harness resizes the masks.

    A model that compiles its network may have an attribute `compile_limit`, the most seconds to spend on it. Where the
    budget is a time the harness sets it to that, before the first batch. A model that stops compiling at the limit says
    so in its notes.

    A model may have an attribute `notes`, a sequence of whole sentences that a reader of its times must know, for
    example that it runs uncompiled. They are read after training and stand in the record.

    A model may have a method `predict_points(images, count, rng)` that gives `PointPredictions` with so many points for
    each image. Supervisions that need a network to say where it is sure ask for it.

    A model whose weights do not start from scratch may have an attribute `loaded`, a `LoadedWeights`, for the record.

    A model may have a method `max_detections(size)`: the most cells that it can give for an image of that height and
    width. `predict` and `evaluate` predict an image that reaches it in tiles.
    """

    module: torch.nn.Module

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, torch.Tensor]:
        """Scalar losses by name, with gradients. The harness sums them. Called in training mode.

        A batch may hold images without a cell.
        """
        ...

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Predictions]:
        """Predictions for (H, W) or (H, W, 3) uint8 images of any size, in their own pixels. Called in eval mode."""
        ...


# ----------------------------------------------------------------------------- learning from images without labels


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """What a model has found on unlabelled images, to be trained on as if it were annotated.

    instances: by number of the unlabelled image, in its own pixels. What is uncertain is a crowd region.
    share: of the images of a batch that are drawn from these in step `first`. It falls linearly to zero at `last`.
    """

    instances: Mapping[int, Instances]
    share: float
    first: int
    last: int

    def share_at(self, step: int) -> float:
        """The share of step `step`."""
        left = (self.last - step) / max(1, self.last - self.first)
        return self.share * min(1.0, max(0.0, left)) if self.instances else 0.0


class TrainingContext(Protocol):
    """What a `Learner` may know and use of a training.

    model: in training. Its `predict` takes images as they are in a batch, which the preset may have resized.
    unlabelled: whole images without instances, by number.
    cells_per_image: mean number of cells of a labelled training image, by class.
    seed: of the training.
    step: how many steps have been done.
    """

    model: Model
    unlabelled: Sequence[Sample]
    cells_per_image: Sequence[float]
    seed: int

    @property
    def step(self) -> int: ...

    def used(self) -> float:
        """The fraction of the budget that is spent by now."""
        ...

    def predict(self, image: NDArray[np.uint8]) -> Predictions:
        """Predictions for a whole image, in its pixels: in eval mode, without gradients.

        Raises whatever ends a training that was asked to stop.
        """
        ...

    def evaluating(self) -> AbstractContextManager[None]:
        """A block in which the model is in eval mode, without gradients. Random numbers go on as if it had not been."""
        ...


class Learner(Protocol):
    """What a supervision does in a training besides its loss, to learn from images without labels.

    A supervision whose method says `reads_unlabelled` makes one for each training: `learner(context)`.

    unlabelled_ratio: unlabelled images in a batch for each labelled one. They come last, cropped and flipped at random,
        with `labelled` False and without instances. They count as images seen.
    pseudo: what batches draw from in place of some labelled images, from the step on in which it is set; or None.
    notes: whole sentences that a reader of the record must know. They are read after training.
    """

    unlabelled_ratio: float
    pseudo: PseudoLabels | None
    notes: Sequence[str]

    def before_step(self) -> None:
        """Called before each step, while the training clock runs."""
        ...

    def losses(self, batch: Sequence[Sample]) -> Mapping[str, torch.Tensor]:
        """In place of the model's. Without anything learned from unlabelled images, exactly the model's."""
        ...

    def after_step(self) -> None:
        """Called after the optimiser has changed the weights."""
        ...

    def state(self) -> Mapping[str, Any]:
        """What a checkpoint must hold to go on: tensors, numbers, texts, and lists and dictionaries of them."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        ...
