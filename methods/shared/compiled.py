"""torch.compile for the blocks of a network, with a fallback to eager execution."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Generic, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

COMPILE_SECONDS = 300.0
"""After so much time spent on compiling, functions that are not compiled yet run as they are; see `compile_limit`."""

FUSE_ALL = {
    "realize_opcount_threshold": 1000,
    "realize_reads_threshold": 1000,
    "realize_acc_reads_threshold": 1000,
}
"""Options of inductor that keep it from storing a large intermediate result that is read more than once.

By default it stores the IoU of all pairs; with these it computes them again where they are read, in the registers.
"""

MAX_GRAPHS = 64
"""Graphs of one function, for all the shapes and kinds of blocks that call it. torch's default is 8."""


class CompileStatus:
    """What the compiled functions of one network share.

    Attributes:
        failure: Why compilation failed; all functions then run as they are. None if it has not.
        seconds: Spent on compiling so far.
        limit: Most seconds to spend; the harness sets the budget of a trial.
    """

    def __init__(self, limit: float = COMPILE_SECONDS) -> None:
        self.failure: str | None = None
        self.seconds = 0.0
        self.limit = limit
        self._limit_reported = False

    @property
    def notes(self) -> list[str]:
        """Whole sentences for the record: why all or a part of the network runs uncompiled. Empty where all is well."""
        if self.failure is not None:
            return [f"The network runs uncompiled, which is slower: {self.failure}"]
        if self._limit_reported:
            return [f"Compiling took more than {self.limit:.0f} s; a part of the network runs uncompiled."]
        return []

    def fail(self, name: str, error: Exception) -> None:
        """From now on everything runs as it is. Reports why on stderr."""
        self.failure = " ".join(str(error).split())[:200]
        print(f"{name} runs uncompiled, which is slower: {self.failure}", file=sys.stderr)

    def out_of_time(self) -> bool:
        """Whether no more functions are to be compiled. Reports it on stderr, once."""
        if self.seconds < self.limit:
            return False
        if not self._limit_reported:
            self._limit_reported = True
            print(f"compiling took {self.seconds:.0f} s; the rest of the network runs uncompiled", file=sys.stderr)
        return True


class CompiledWithFallback(Generic[Arguments, Result]):
    """Calls `torch.compile(function)`, or the function itself where that is of no use.

    The function itself is called after a compilation has failed, when time is up before its first call, and where
    `module` is not in training: images to predict have any size, and each size would be compiled anew. Running out of
    memory is not a failure of the compiler and is raised.

    Args:
        function: What to compile.
        module: Module whose parameters are trained through the function. The compiler postpones the backward pass until
            it is too late to fall back, so the first call runs it once to try.
        status: Shared with the other functions of a network.
        options: Arguments of torch.compile.
    """

    def __init__(
        self,
        function: Callable[Arguments, Result],
        module: nn.Module | None = None,
        status: CompileStatus | None = None,
        **options: Any,
    ) -> None:
        self.function, self.module, self.options = function, module, options
        self.status = status or CompileStatus()
        self.compiled: Callable[Arguments, Result] | None = None

    def __call__(self, *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        if self.status.failure is not None or (self.module is not None and not self.module.training):
            return self.function(*arguments, **named)
        if self.compiled is None and self.status.out_of_time():
            return self.function(*arguments, **named)
        # here, because the import takes a second that runs without compilation should not spend
        from torch._dynamo.exc import TorchDynamoException

        try:
            if self.compiled is None:
                self._compile(*arguments, **named)
            assert self.compiled is not None
            return self.compiled(*arguments, **named)
        except (TorchDynamoException, _NoBackwardError) as error:
            self.status.fail(getattr(self.function, "__qualname__", "a function"), error)
            return self.function(*arguments, **named)

    def _compile(self, *arguments: Arguments.args, **named: Arguments.kwargs) -> None:
        begin = time.perf_counter()
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MAX_GRAPHS)
        self.compiled = torch.compile(self.function, **self.options)
        result = self.compiled(*arguments, **named)
        if self.module is not None and torch.is_grad_enabled():
            _try_backward(result, self.module)
        self.status.seconds += time.perf_counter() - begin


def compile_blocks(blocks: Iterable[nn.Module], status: CompileStatus) -> list[CompiledWithFallback[Any, Any]]:
    """Compile the forward functions of blocks for training.

    Blocks of one class with the same shapes share one graph, so that a deep network takes no longer to compile than a
    shallow one.
    """
    compiled = []
    for block in blocks:
        block.forward = CompiledWithFallback(block.forward, block, status, dynamic=False)
        compiled.append(block.forward)
    return compiled


class _NoBackwardError(Exception):
    """The backward pass could not be compiled."""


def _try_backward(result: Any, module: nn.Module) -> None:
    sums = [leaf.float().sum() for leaf in tree_leaves(result) if isinstance(leaf, Tensor) and leaf.requires_grad]
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not sums or not trained:
        return
    try:
        torch.autograd.grad(torch.stack(sums).sum(), trained, allow_unused=True)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the compiler does not wrap errors of its backends here
        raise _NoBackwardError(str(error)) from error
