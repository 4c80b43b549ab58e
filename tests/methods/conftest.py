"""Fixtures of the tests of networks: a task, and annotated masks as tensors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scenes import pool_of, sample_of, scene

from harness.contract import Task
from harness.masks.crops import CropMasks
from methods.shared.torch_masks import MatchedTargets, TorchMasks

__all__ = ["labels_of", "pool_of", "sample_of", "scene", "task_of"]

TaskOf = Callable[..., Task]
LabelsOf = Callable[..., MatchedTargets]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def task_of() -> TaskOf:
    """A task of so many classes."""

    def make(classes: int = 1, **settings: object) -> Task:
        names = tuple(f"class {i}" for i in range(classes))
        return Task(names, (128.0,) * 3, (30.0,) * 3, crop=64, max_cells=10, max_size=(96, 130), settings=settings)

    return make


@pytest.fixture
def labels_of() -> LabelsOf:
    """Masks of one image, (N, H, W), as the labels of their own boxes or of given ones."""

    def make(planes: np.ndarray, boxes: torch.Tensor | None = None) -> MatchedTargets:
        masks = CropMasks.from_planes(planes)
        size = (planes.shape[1], planes.shape[2])
        own = torch.from_numpy(masks.boxes.astype(np.float32))
        return MatchedTargets(own if boxes is None else boxes, TorchMasks.from_images([masks], [size], "cpu"))

    return make
