"""What cannot be compiled runs as it is, and says so once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from builders import SMALL, discs, recipe, task
from torch import Tensor, nn

from methods.shared.compiled import CompiledWithFallback


def double(x: Tensor) -> Tensor:
    return x * 2


def triple(x: Tensor) -> Tensor:
    return x * 3


def unable(graph: Any, inputs: Any) -> Any:
    raise RuntimeError("no compiler for this machine\nand many more lines")


def test_what_is_compiled_is_used() -> None:
    assert CompiledWithFallback(double, triple, backend="eager")(torch.ones(1)).item() == 2


def test_what_cannot_be_compiled_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    function = CompiledWithFallback(double, triple, backend=unable)
    assert [function(torch.ones(1)).item() for _ in range(3)] == [3, 3, 3]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("double runs uncompiled")
    assert "no compiler for this machine" in line


def test_a_backward_pass_that_cannot_be_compiled_is_seen_in_the_first_call() -> None:
    from torch._dynamo.backends.common import aot_autograd

    layer = nn.Linear(2, 2)
    backend = aot_autograd(fw_compiler=lambda graph, inputs: graph.forward, bw_compiler=unable)
    result = CompiledWithFallback(layer.forward, layer.forward, layer, backend=backend)(torch.ones(1, 2))
    result.sum().backward()
    assert layer.weight.grad is not None


def test_memory_that_runs_out_is_not_taken_for_a_failure() -> None:
    def hungry(x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("no memory")

    with pytest.raises(torch.OutOfMemoryError):
        CompiledWithFallback(torch.compiler.disable(hungry), triple, backend="eager")(torch.ones(1))


def test_a_compiled_network_learns_from_the_same_losses() -> None:
    base = recipe()
    samples = [discs(5, seed=1), discs(3, seed=2)]
    losses = {}
    for compiled in (False, True):
        torch.manual_seed(0)
        module = base.engine.build(base, task(**SMALL, compile=compiled)).module.train()
        if compiled:
            for part in (module.training_forward, module.proposal_generator.match):
                part.options["backend"] = "aot_eager"
        torch.manual_seed(1)
        losses[compiled] = {name: float(value.detach()) for name, value in module.compute_losses(samples).items()}
        if compiled:
            assert not module.training_forward.failed
    assert losses[True] == pytest.approx(losses[False], rel=1e-5)
