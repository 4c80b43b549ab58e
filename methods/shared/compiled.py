"""torch.compile with a fallback to eager execution."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class CompiledWithFallback(Generic[Arguments, Result]):
    """Calls `torch.compile(function)`, and `fallback` from the first time that compilation fails.

    A failure is reported on stderr, once. Running out of memory is not a failure of the compiler and is raised.

    Args:
        function: What to compile.
        fallback: What to call instead; takes the same arguments.
        module: Module whose parameters are trained through the function. The compiler postpones the backward pass until
            it is too late to fall back, so the first call runs it once to try.
        options: Arguments of torch.compile.
    """

    def __init__(
        self,
        function: Callable[Arguments, Result],
        fallback: Callable[Arguments, Result],
        module: nn.Module | None = None,
        **options: Any,
    ) -> None:
        self.function, self.fallback, self.module, self.options = function, fallback, module, options
        self.compiled: Callable[Arguments, Result] | None = None
        self.failed = False

    def __call__(self, *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        if self.failed:
            return self.fallback(*arguments, **named)
        # here, because the import takes a second that runs without compilation should not spend
        from torch._dynamo.exc import TorchDynamoException

        try:
            if self.compiled is None:
                self.compiled = torch.compile(self.function, **self.options)
                if self.module is not None and torch.is_grad_enabled():
                    _try_backward(self.compiled(*arguments, **named), self.module)
            return self.compiled(*arguments, **named)
        except (TorchDynamoException, _NoBackwardError) as error:
            self.failed = True
            name = getattr(self.function, "__qualname__", "a function")
            reason = " ".join(str(error).split())[:200]
            print(f"{name} runs uncompiled, which is slower: {reason}", file=sys.stderr)
            return self.fallback(*arguments, **named)


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
