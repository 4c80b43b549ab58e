"""A training step waits for nothing but the proposals that remain after NMS and the boxes that are positive.

No GPU is needed: tensors that pretend to be on one raise an error where a step needs a value that only the GPU knows,
and copies that are waited for are counted. What depends on values is replaced by something plausible.

torchvision's engine waits by design: its own samplers and poolers look up the indices of positive anchors and boxes.
For it the tests show that the first wait is inside torchvision, and that what the project adds waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from engine_fixtures import SMALL, discs, task
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.catalog import load_catalog
from harness.contract import Init, Sample
from harness.stacks import resolve
from harness.training.model_outputs import validated_total_loss
from methods import mask_rcnn
from methods.mean_teacher.average import WeightAverage

pytestmark = pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="this build of torch knows no CUDA")
CATALOG = load_catalog()
NOT_BY_DEFAULT = ["mean_teacher", "self_training", "swin_t", "pvt_v2_b0"]
"""The others that `all` leaves out change where weights start or how deep the baseline is."""
ENGINES = {
    name: resolve(CATALOG, name, "small", Init("scratch")).recipe.engine
    for name in [*CATALOG.defaults(), *NOT_BY_DEFAULT]
}
METHODS = [name for name, engine in ENGINES.items() if engine == mask_rcnn.ENGINE]
ON_TORCHVISION = [name for name, engine in ENGINES.items() if engine.name == "torchvision"]

COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}


class PretendedGPU(TorchDispatchMode):
    """Tensors on "cuda" have shapes but no values. All others are ordinary.

    copies: between there and the host that either waits for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.copies = 0
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        with self.fake:  # from here on torch asks no driver which device is the current one
            pass

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        devices = [getattr(x, "device", x) for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor | torch.device)]
        if not any(device.type == "cuda" for device in devices):
            return func(*args, **kwargs)
        with self.fake:
            result = func(*args, **kwargs)
        if func in COPIES:
            source = args[1] if func is torch.ops.aten.copy_.default else args[0]
            waited_for = not kwargs.get("non_blocking", args[-1] is True)
            self.copies += source.device != result.device and waited_for
        return result


@pytest.fixture(autouse=True)
def _no_driver_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda._lazy_init", lambda: None)
    monkeypatch.setattr(
        "methods.shared.device_transfer.copy_to_gpu", lambda tensor, device: tensor.to(device, non_blocking=True)
    )


@contextmanager
def pretended_gpu(monkeypatch: pytest.MonkeyPatch, module: nn.Module) -> Iterator[PretendedGPU]:
    """The module moved to the fake GPU."""
    monkeypatch.setattr("methods.frameworks.detectron2.rpn.nms", lambda boxes, scores, threshold: scores.argsort())
    monkeypatch.setattr("methods.shared.device_transfer.AsyncHostCopy.__init__", keep_shape)
    monkeypatch.setattr("methods.shared.device_transfer.AsyncHostCopy.wait", lambda self: half_positive(self.shape))
    with PretendedGPU() as gpu:
        for part in module.modules():
            for name, value in part._parameters.items():
                if value is not None:
                    part._parameters[name] = nn.Parameter(torch.empty_like(value, device="cuda"))
            for name, value in part._buffers.items():
                if value is not None:
                    part._buffers[name] = torch.empty_like(value, device="cuda")
        yield gpu


def keep_shape(returning: Any, value: Tensor) -> None:
    returning.shape = tuple(value.shape)


def half_positive(shape: tuple[int, ...]) -> Tensor:
    """A plausible (B, P, 6) result: in each image the first half is positive, matched to its first cell."""
    rows = torch.zeros(shape)
    rows[:, : shape[1] // 2, 0] = 1
    rows[..., 2:] = torch.tensor([8.0, 8.0, 40.0, 40.0])
    return rows


def losses_of(method: str, monkeypatch: pytest.MonkeyPatch, samples: list[Sample]) -> tuple[Tensor, int]:
    stack = resolve(CATALOG, method, "small", Init("scratch")).recipe
    model = stack.engine.build(stack, task(**SMALL))
    labeller = stack.supervision.build(task(**SMALL))
    labelled = [s.with_(instances=labeller.labels(s.instances, np.random.default_rng(0))) for s in samples]
    with pretended_gpu(monkeypatch, model.module.train()) as gpu:
        model.losses(labelled)  # the first step makes the anchors
        gpu.copies = 0
        return validated_total_loss(model.losses(labelled)), gpu.copies


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=pytest.mark.slow if name in NOT_BY_DEFAULT else ()) for name in METHODS]
)
def test_a_step_waits_for_nothing(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, copies = losses_of(method, monkeypatch, [discs(12, side=64, seed=1), discs(7, side=64, seed=2)])
    assert loss.device.type == "cuda"
    assert loss.requires_grad
    assert copies == 0


def test_a_step_of_stardist_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = on_pretended_gpu("stardist")
    with pretended_gpu(monkeypatch, model.module.train()) as gpu:
        loss = validated_total_loss(model.losses([discs(12, side=64, seed=1), discs(7, side=64, seed=2)]))
    assert (loss.device.type, loss.requires_grad, gpu.copies) == ("cuda", True, 0)


def test_the_average_of_weights_is_kept_without_waiting() -> None:
    """mean_teacher's work after each step. Before it, it computes with numbers that the host has."""
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with PretendedGPU() as gpu:
        module.to("cuda")
        average = WeightAverage(module, 0.99)
        gpu.copies = 0
        average.update()
    assert {value.device.type for value in average.values.values()} == {"cuda"}
    assert gpu.copies == 0


def test_no_method_with_steps_is_left_out() -> None:
    """cellpose and maskformer wait by design: their packages make the targets, or match queries, on the host."""
    others = {"cellpose", "maskformer", "otsu_watershed", "stardist"}
    assert set(METHODS) | set(ON_TORCHVISION) | others >= set(CATALOG.defaults())


@pytest.mark.parametrize("method", ON_TORCHVISION)
def test_what_torchvision_is_given_is_copied_without_waiting(method: str) -> None:
    model, sample = on_pretended_gpu(method), discs(12, side=64, seed=1)
    with PretendedGPU() as gpu:
        given = [model._to_tensor(sample.image), *model._to_target(sample).values()]
    assert {tensor.device.type for tensor in given} == {"cuda"}
    assert gpu.copies == 0


@pytest.mark.parametrize("method", ON_TORCHVISION)
def test_the_first_wait_of_a_torchvision_step_is_its_own(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = on_pretended_gpu(method)
    with (
        pretended_gpu(monkeypatch, model.module.train()),
        pytest.raises((DataDependentOutputException, DynamicOutputShapeException)) as waited,
    ):
        model.losses([discs(12, side=64, seed=1)])
    files = [str(entry.path) for entry in waited.traceback]
    ours = max(i for i, file in enumerate(files) if file.endswith("frameworks/torchvision/rcnn.py"))
    assert any("torchvision/models/detection" in file for file in files[ours + 1 :]), files


def on_pretended_gpu(method: str) -> Any:
    """The model of a method, whose inputs go to the GPU."""
    stack = resolve(CATALOG, method, "small", Init("scratch")).recipe
    model = stack.engine.build(stack, task(**SMALL))
    model.device = torch.device("cuda", 0)
    return model


@pytest.mark.parametrize(
    "asks",
    [lambda x: x.sum().item(), torch.nonzero, lambda x: x[x > 0], lambda x: x.unique(), lambda x: float(x.sum())],
)
def test_waiting_is_seen(asks: Callable[[Tensor], Any]) -> None:
    with (
        PretendedGPU(),
        pytest.raises((DataDependentOutputException, DynamicOutputShapeException)),
    ):
        asks(torch.empty(3, device="cuda"))


@pytest.mark.parametrize(
    "copies", [lambda x: x.cpu(), lambda x: torch.ones(3).to("cuda"), lambda x: x.copy_(torch.ones(3))]
)
def test_copies_are_seen(copies: Callable[[Tensor], Any]) -> None:
    with PretendedGPU() as gpu:
        copies(torch.empty(3, device="cuda"))
    assert gpu.copies == 1


def test_copies_that_nobody_waits_for_are_none() -> None:
    with PretendedGPU() as gpu:
        torch.ones(3).to("cuda", non_blocking=True)
        torch.empty(3, device="cuda").to(torch.float16)
    assert gpu.copies == 0
