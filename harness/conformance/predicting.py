"""What a model must keep to when it is asked for predictions."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.conformance.images import drawn
from harness.conformance.subject import Subject, Violation, learns, predicted, require, steps
from harness.contract import Model, Predictions, Sample
from harness.errors import HarnessError


def predictions_are_valid(subject: Subject) -> None:
    """Predictions lie inside the image, boxes ordered, scores in 0..1, labels of classes, no mask empty."""
    model, _ = subject.trained
    _checked(model, [*subject.samples, drawn(0), drawn(300, (128, 128))], classes=1)
    _checked(subject.build(3), [drawn(9, classes=3)], classes=3)


def any_image_size(subject: Subject) -> None:
    """It predicts on odd, narrow, small, grey and colour images, and on several of different sizes in one call."""
    model, _ = subject.trained
    sizes = ((61, 83), (129, 47), (33, 160), (40, 40))
    samples = [drawn(4, size, colour=i % 2 == 1) for i, size in enumerate(sizes)]
    _checked(model, samples, classes=1)
    together = predicted(model, [sample.image for sample in samples])
    require([tuple(p.size) for p in together] == list(sizes), "several images in one call come back in other sizes")


def saved_and_loaded_predicts_the_same(subject: Subject) -> None:
    """Trained, saved, and loaded into a new model, it predicts the same."""
    import torch

    model, _ = subject.trained
    file = io.BytesIO()
    torch.save(model.module.state_dict(), file)
    file.seek(0)
    other = subject.build(seed=11)
    other.module.load_state_dict(torch.load(file, weights_only=True))
    images = [sample.image for sample in subject.samples]
    for one, two in zip(predicted(model, images), predicted(other, images), strict=True):
        _require_same(one, two, "the loaded model predicts something else")


def predicting_changes_nothing(subject: Subject) -> None:
    """Predicting leaves the weights alone, and an image's predictions do not depend on those before it."""
    import torch

    model, _ = subject.trained
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    first, *_, again = (predicted(model, [subject.samples[i].image])[0] for i in (0, 1, 2, 0))
    for name, value in model.module.state_dict().items():
        require(torch.equal(value, before[name]), f"predict() changed {name}")
    _require_same(first, again, "the same image, predicted again after others, gives something else")


def reads_no_data_by_itself(subject: Subject) -> None:
    """Built, trained and asked for predictions, it opens no image or table: what it may see, it is given."""
    with _Watch() as watch:
        model = subject.build()
        if learns(model):
            steps(model, subject.batch(), 1)
        predicted(model, [subject.samples[0].image])
    require(not watch.opened, f"it opened {', '.join(sorted(watch.opened)[:3])}")


def _checked(model: Model, samples: Sequence[Sample], classes: int) -> None:
    from harness.training.model_outputs import validate_predictions

    for sample in samples:
        (found,) = predicted(model, [sample.image])
        try:
            validate_predictions(found, replace(sample, image_id=f"with {len(sample.instances)} cells"), classes)
        except HarnessError as error:
            raise Violation(str(error)) from error


def _require_same(one: Predictions, two: Predictions, otherwise: str) -> None:
    same = (
        np.array_equal(one.scores, two.scores)
        and np.array_equal(one.labels, two.labels)
        and np.array_equal(one.masks.boxes, two.masks.boxes)
        and np.array_equal(one.masks.pixels, two.masks.pixels)
    )
    require(same, otherwise)


# ---------------------------------------------------------------------------------------- which files are opened

_DATA = frozenset((".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".csv", ".tsv", ".json", ".npy", ".npz", ".gz"))
_watching: list[_Watch] = []
_hooked = False


class _Watch:
    """Notes every data file opened from Python while it stands; files of installed packages do not count."""

    def __init__(self) -> None:
        self.opened: set[str] = set()

    def __enter__(self) -> _Watch:
        global _hooked
        if not _hooked:
            sys.addaudithook(_heard)  # cannot be taken away again, hence once
            _hooked = True
        _watching.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _watching.remove(self)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching or event != "open" or not isinstance(arguments[0], str | bytes):
        return
    path = Path(arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0])
    if path.suffix.lower() in _DATA and not _of_a_package(path):
        for watch in _watching:
            watch.opened.add(path.name)


def _of_a_package(path: Path) -> bool:
    parents = {str(parent) for parent in path.absolute().parents}
    return "site-packages" in path.parts or sys.prefix in parents or sys.base_prefix in parents
