"""Equal blocks are compiled once; where compilation fails, functions run eagerly and that is reported once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engine_fixtures import SMALL, discs, recipe, task
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from harness.contract import Part
from methods.shared.compiled import CompiledWithFallback, CompileStatus, compile_blocks


@pytest.fixture(autouse=True)
def _nothing_compiled_before() -> None:
    torch._dynamo.reset()


def double(x: Tensor) -> Tensor:
    return x * 2


def unable(graph: Any, inputs: Any) -> Any:
    raise RuntimeError("no compiler for this machine\nand many more lines")


def test_what_is_compiled_is_used() -> None:
    counter = CompileCounterWithBackend("eager")
    function = CompiledWithFallback(double, backend=counter)
    assert [function(torch.ones(1)).item() for _ in range(2)] == [2, 2]
    assert counter.frame_count == 1


def test_what_cannot_be_compiled_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    function = CompiledWithFallback(double, backend=unable)
    assert [function(torch.ones(1)).item() for _ in range(3)] == [2, 2, 2]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("double runs uncompiled")
    assert "no compiler for this machine" in line


def test_a_failure_ends_compiling_for_the_whole_network(capsys: pytest.CaptureFixture[str]) -> None:
    status, counter = CompileStatus(), CompileCounterWithBackend("eager")
    CompiledWithFallback(double, status=status, backend=unable)(torch.ones(1))
    CompiledWithFallback(double, status=status, backend=counter)(torch.ones(1))
    assert counter.frame_count == 0
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert status.notes[0].startswith("The network runs uncompiled, which is slower: ")


def test_after_the_time_limit_the_rest_runs_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    status, counter = CompileStatus(limit=1e-9), CompileCounterWithBackend("eager")
    first, second, third = (CompiledWithFallback(double, status=status, backend=counter) for _ in range(3))
    assert [function(torch.ones(1)).item() for function in (first, second, third, first)] == [2, 2, 2, 2]
    assert first.compiled is not None
    assert second.compiled is None
    assert status.failure is None
    assert "a part of the network runs uncompiled" in status.notes[0]
    (line,) = capsys.readouterr().err.splitlines()
    assert "the rest of the network runs uncompiled" in line


def test_images_to_predict_are_not_compiled_for() -> None:
    counter, layer = CompileCounterWithBackend("eager"), nn.Linear(2, 2)
    function = CompiledWithFallback(layer.forward, layer, backend=counter)
    layer.eval()
    for rows in (1, 2, 3):
        function(torch.ones(rows, 2))
    assert counter.frame_count == 0


def test_a_backward_pass_that_cannot_be_compiled_is_seen_in_the_first_call() -> None:
    from torch._dynamo.backends.common import aot_autograd

    layer = nn.Linear(2, 2)
    backend = aot_autograd(fw_compiler=lambda graph, inputs: graph.forward, bw_compiler=unable)
    function = CompiledWithFallback(layer.forward, layer, backend=backend)
    function(torch.ones(1, 2)).sum().backward()
    assert function.status.failure is not None
    assert layer.weight.grad is not None


def test_memory_that_runs_out_is_not_taken_for_a_failure() -> None:
    def hungry(x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("no memory")

    with pytest.raises(torch.OutOfMemoryError):
        CompiledWithFallback(torch.compiler.disable(hungry), backend="eager")(torch.ones(1))


def test_equal_blocks_share_a_graph() -> None:
    counter = CompileCounterWithBackend("eager")
    network = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)), nn.Linear(4, 2))
    for function in compile_blocks(network, CompileStatus()):
        function.options["backend"] = counter
    network(torch.ones(3, 4, requires_grad=True)).sum().backward()
    assert counter.frame_count == 2


RESNET = "methods.frameworks.detectron2.resnet:build"


@pytest.mark.parametrize(
    ("backbone", "blocks", "graphs"),
    [
        (Part("resnet", RESNET, {"depth": 101}), 34, 9),
        (
            Part(
                "container",
                "methods.container.backbone:build",
                {"widths": [32, 32, 32, 32], "depths": [3, 4, 8, 3], "mlp_ratios": [1, 1, 1, 1]},
            ),
            22,
            8,
        ),
        (Part("spinenet", "methods.spinenet.backbone:build", {"variant": "96", "scale": 0.1, "norm": "GN"}), 70, 40),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_deep_network_has_few_graphs(backbone: Part, blocks: int, graphs: int) -> None:
    """Counted in the backbone alone, the pyramid and the RPN's head left out."""
    counter = CompileCounterWithBackend("eager")
    base = recipe(backbone=backbone)
    module = base.engine.build(base, task(**SMALL, compile=True)).module.train()
    body = getattr(module.backbone, "bottom_up", module.backbone)
    for function in module.compiled:
        function.options["backend"] = counter
    with torch.no_grad():
        body(torch.zeros(1, 3, 128, 128))
    assert (len(body.compiled_blocks()), counter.frame_count) == (blocks, graphs)


def test_a_compiled_network_learns_from_the_same_losses_and_predicts_any_size() -> None:
    base = recipe()
    samples = [discs(5, seed=1), discs(3, seed=2)]
    losses, counter = {}, CompileCounterWithBackend("aot_eager")
    for compiled in (False, True):
        torch.manual_seed(0)
        model = base.engine.build(base, task(**SMALL, compile=compiled))
        module = model.module.train()
        if compiled:
            for function in module.compiled:
                function.options["backend"] = counter
        torch.manual_seed(1)
        losses[compiled] = {name: float(value.detach()) for name, value in module.compute_losses(samples).items()}
    assert losses[True] == pytest.approx(losses[False], rel=1e-5)
    assert module.compile_status.failure is None
    assert model.notes == []
    graphs = counter.frame_count
    assert graphs > 0
    module.eval()
    for side in (64, 96, 160):
        model.predict([discs(3, side=side).image])
    assert counter.frame_count == graphs
