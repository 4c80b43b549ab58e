"""Adapters with one fault each, and one without: small torch models for the real worker.

Each method is an engine with the option `fault`. test_bad_adapters.py says what must become of each.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.contract import Card, Method, Part, Predictions, Recipe, Sample, Task
from harness.masks.crops import CropMasks

FAULTS = (
    "none",
    # faults of losses()
    "loss per image",
    "loss as a float",
    "loss as an array",
    "loss without gradient",
    "no losses",
    "list of losses",
    "nameless loss",
    "loss of nan",
    # faults of predict()
    "masks outside",
    "a score too few",
    "scores of nan",
    "scores of one column",
    "scores as a tensor",
    "another size",
    "no size",
    "a dictionary",
    "nothing",
    "two for one image",
    "class of none",
    "planes for masks",
    "boxes of two numbers",
    "crops cut short",
    "empty mask",
    "turned box",
    # other faults
    "raises",
    "segfaults",
    "hangs",
    "eats memory",
    "prints 100 MB",
    "forks and exits",
    "sys.exit(0)",
)


class Corner:
    """Learns the mean brightness of images, and finds two cells of 4x4 pixels in a corner of each."""

    def __init__(self, task: Task, fault: str) -> None:
        torch.manual_seed(task.seed)
        self.task, self.fault = task, fault
        self.module = nn.Linear(1, 1)

    def losses(self, batch: Sequence[Sample]) -> Any:
        means = torch.tensor([[float(sample.image.mean()) / 255] for sample in batch])
        each = (self.module(means) - 1 + means).square().mean(dim=1)
        good: Mapping[str, Tensor] = {"mean": each.mean()}
        match self.fault:
            case "loss per image":
                return {"mean": each}
            case "loss as a float":
                return {"mean": float(each.detach().mean())}
            case "loss as an array":
                return {"mean": each.detach().numpy()}
            case "loss without gradient":
                return {"mean": each.mean().detach()}
            case "no losses":
                return {}
            case "list of losses":
                return [each.mean()]
            case "nameless loss":
                return {None: each.mean()}
            case "loss of nan":
                return {"mean": each.mean() * torch.nan}
        misbehave(self.fault)
        return good

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> Any:
        found: list[Any] = [self._predict(image) for image in images]
        return {"nothing": None, "two for one image": found * 2}.get(self.fault, found)

    def _predict(self, image: NDArray[np.uint8]) -> Any:
        height, width = image.shape[:2]
        masks = CropMasks.from_crops([(0, 0, 4, 4), (4, 4, 8, 8)], [np.ones((4, 4))] * 2)
        boxes, scores, labels = masks.boxes, np.array([0.9, 0.4], np.float32), np.zeros(2, np.int64)
        good = Predictions((height, width), masks, scores, labels)
        match self.fault:
            case "masks outside":
                return replace(good, masks=replace(masks, boxes=boxes + np.int32(width)))
            case "a score too few":
                return replace(good, scores=scores[:1])
            case "scores of nan":
                return replace(good, scores=scores * np.float32("nan"))
            case "scores of one column":
                return replace(good, scores=scores[:, None])
            case "scores as a tensor":
                return replace(good, scores=torch.from_numpy(scores))
            case "another size":
                return replace(good, size=(width + 1, height))
            case "no size":
                return replace(good, size=None)
            case "a dictionary":
                return {"boxes": boxes, "scores": scores}
            case "class of none":
                return replace(good, labels=labels + len(self.task.classes))
            case "planes for masks":
                return replace(good, masks=masks.planes(height, width))
            case "boxes of two numbers":
                return replace(good, masks=replace(masks, boxes=boxes[:, :2]))
            case "crops cut short":
                return replace(good, masks=replace(masks, pixels=masks.pixels[:-5]))
            case "empty mask":
                return replace(good, masks=replace(masks, pixels=masks.pixels * np.uint8(0)))
            case "turned box":
                return replace(good, masks=replace(masks, boxes=boxes[:, [2, 3, 0, 1]]))
        return good


def misbehave(fault: str) -> None:
    """Do what `fault` names, if it is something one does."""
    match fault:
        case "raises":
            raise ValueError("a mistake\non two lines")
        case "segfaults":
            # not ctypes, which makes an exception of it on Windows
            faulthandler._read_null()  # type: ignore[attr-defined]
        case "hangs":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(60)
        case "eats memory":
            eaten = []
            while True:
                eaten.append(torch.ones(16 << 20, dtype=torch.uint8))
                # slowly enough for the supervisor, which samples memory five times a second
                time.sleep(0.05)
        case "prints 100 MB":
            line = b"y" * 1023 + b"\n"
            for _ in range(100):
                os.write(1, line * 1024)
            raise RuntimeError("the last words")
        case "forks and exits":
            fork()
        case "sys.exit(0)":
            sys.exit(0)


def fork() -> None:
    """Exit and leave a child in a session of its own that holds the output open and ignores SIGTERM."""
    if sys.platform == "win32":
        code = "import time; time.sleep(600)"
        child = subprocess.Popen([sys.executable, "-c", code], creationflags=subprocess.CREATE_NEW_PROCESS_GROUP)
        Path(os.environ["BAD_ADAPTERS_CHILD"]).write_text(str(child.pid))
        os._exit(0)
    if os.fork() == 0:
        os.setsid()
        Path(os.environ["BAD_ADAPTERS_CHILD"]).write_text(str(os.getpid()))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    while not Path(os.environ["BAD_ADAPTERS_CHILD"]).is_file():
        time.sleep(0.01)
    os._exit(0)


def build(recipe: Recipe, task: Task, *, fault: str) -> Corner:
    return Corner(task, fault)


def method(fault: str) -> Method:
    name = "".join(c if c.isalnum() else "_" for c in fault)
    card = Card(fault, "none", 2021, "none", "an engine of its own")
    return Method(name, card, {"engine": Part(name, f"{__name__}:build", {"fault": fault})}, supported_slots=())


METHODS = tuple(method(fault) for fault in FAULTS)
