"""Checks of prediction."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.conformance.images import draw_sample
from harness.conformance.subject import Subject, Violation, is_trainable, predict, require, train
from harness.contract import Model, Predictions, Sample
from harness.errors import HarnessError


def predictions_are_valid(subject: Subject) -> None:
    """Masks lie inside the image and are not empty, scores are from 0 to 1, labels are indices of classes."""
    model, _ = subject.trained
    _require_valid(model, [*subject.samples, draw_sample(0), draw_sample(300, (128, 128))], classes=1)
    _require_valid(subject.build(3), [draw_sample(9, classes=3)], classes=3)


def takes_any_image_size(subject: Subject) -> None:
    """The model predicts on odd, narrow, small, grey and colour images, and on images of several sizes in one call."""
    model, _ = subject.trained
    sizes = ((61, 83), (129, 47), (33, 160), (40, 40))
    samples = [draw_sample(4, size, colour=i % 2 == 1) for i, size in enumerate(sizes)]
    _require_valid(model, samples, classes=1)
    together = predict(model, [sample.image for sample in samples])
    same_sizes = [tuple(found.size) for found in together] == list(sizes)
    require(same_sizes, "images of several sizes in one call get predictions of other sizes")


def reloaded_model_predicts_the_same(subject: Subject) -> None:
    """Trained weights, saved and loaded into a new model, predict the same."""
    import torch

    model, _ = subject.trained
    file = io.BytesIO()
    torch.save(model.module.state_dict(), file)
    file.seek(0)
    other = subject.build(seed=11)
    other.module.load_state_dict(torch.load(file, weights_only=True))
    images = [sample.image for sample in subject.samples]
    for one, two in zip(predict(model, images), predict(other, images), strict=True):
        _require_equal(one, two, "the reloaded model predicts something else")


def prediction_keeps_no_state(subject: Subject) -> None:
    """Prediction changes no weight, and predictions of an image do not depend on images before it."""
    import torch

    model, _ = subject.trained
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    first, *_, again = (predict(model, [subject.samples[i].image])[0] for i in (0, 1, 2, 0))
    for name, value in model.module.state_dict().items():
        require(torch.equal(value, before[name]), f"predict() changed {name}")
    _require_equal(first, again, "an image that is predicted again after others gets other predictions")


def opens_no_data_file(subject: Subject) -> None:
    """While it is built, trained and used for prediction, the model opens no image or table: all data are arguments."""
    with _DataFileWatch() as watch:
        model = subject.build()
        if is_trainable(model):
            train(model, subject.batch(), 1)
        predict(model, [subject.samples[0].image])
    require(not watch.opened, f"it opened {', '.join(sorted(watch.opened)[:3])}")


def _require_valid(model: Model, samples: Sequence[Sample], classes: int) -> None:
    from harness.training.model_outputs import validate_predictions

    for sample in samples:
        (found,) = predict(model, [sample.image])
        try:
            validate_predictions(found, f"with {len(sample.instances)} cells", sample.size, classes)
        except HarnessError as error:
            raise Violation(str(error)) from error


def _require_equal(one: Predictions, two: Predictions, message: str) -> None:
    same = (
        np.array_equal(one.scores, two.scores)
        and np.array_equal(one.labels, two.labels)
        and np.array_equal(one.masks.boxes, two.masks.boxes)
        and np.array_equal(one.masks.pixels, two.masks.pixels)
    )
    require(same, message)


_DATA = frozenset((".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".csv", ".tsv", ".json", ".npy", ".npz", ".gz"))
_watching: list[_DataFileWatch] = []
_hooked = False


class _DataFileWatch:
    """Records every data file that Python opens within the context, except files of installed packages."""

    def __init__(self) -> None:
        self.opened: set[str] = set()

    def __enter__(self) -> _DataFileWatch:
        global _hooked
        if not _hooked:
            sys.addaudithook(_on_audit_event)  # a hook cannot be removed
            _hooked = True
        _watching.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _watching.remove(self)


def _on_audit_event(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching or event != "open" or not isinstance(arguments[0], str | bytes):
        return
    path = Path(arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0])
    if path.suffix.lower() in _DATA and not _is_in_a_package(path):
        for watch in _watching:
            watch.opened.add(path.name)


def _is_in_a_package(path: Path) -> bool:
    parents = {str(parent) for parent in path.absolute().parents}
    return "site-packages" in path.parts or sys.prefix in parents or sys.base_prefix in parents
