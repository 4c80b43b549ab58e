"""A function through torch's compiler, or as it is where that does not serve it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Compiled(Generic[Arguments, Result]):
    """Calls what torch.compile makes of `function`; from the first time that it cannot, `otherwise`, and says so.

    module: whose parameters are trained through the function. Its backward pass, which the compiler would otherwise put
    off until it is too late to do without, is then tried in the first call. options: of torch.compile.
    Memory that runs out is no failure of the compiler and raises as ever.
    """

    def __init__(
        self,
        function: Callable[Arguments, Result],
        otherwise: Callable[Arguments, Result],
        module: nn.Module | None = None,
        **options: Any,
    ) -> None:
        self.function, self.otherwise, self.module, self.options = function, otherwise, module, options
        self.compiled: Callable[Arguments, Result] | None = None
        self.failed = False

    def __call__(self, *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        if self.failed:
            return self.otherwise(*arguments, **named)
        # imported by the compiler anyway, which takes a second where nothing is compiled
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
            return self.otherwise(*arguments, **named)


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
    except Exception as error:  # here the compiler lets through whatever its parts raise
        raise _NoBackwardError(str(error)) from error
