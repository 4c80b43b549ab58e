"""Checkpoints: everything that determines the next step, so that a resumed run equals one that was never stopped."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.errors import HarnessError
from harness.fileio import write_bytes_atomic
from harness.results.io import WEIGHTS
from harness.results.status import one_line
from harness.training.checkpoint_files import newest_blob, save_blob
from harness.training.device import random_state, restore_random_state
from harness.training.trace import Trace


@dataclass(frozen=True)
class Restored:
    """The state of training after `step` steps. ended: the budget was spent. learner: of a learner's `state`."""

    step: int
    trace: Trace
    ended: bool
    learner: Mapping[str, Any] | None = None


def save(
    folder: Path,
    step: int,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    trace: Trace,
    device: str,
    learner: Mapping[str, Any] | None = None,
) -> None:
    """Write the state after `step` steps. The checkpoint before it stays until this one is complete.

    The order of the data is a function of the step (see stream.py), and the learning rate one of the budget used, so
    neither is stored.
    """
    states = {"module": module.state_dict(), "optimiser": optimiser.state_dict()}
    states |= {} if learner is None else {"learner": dict(learner)}
    _save(folder, step, trace, device, states)


def save_end(folder: Path, step: int, module: nn.Module, trace: Trace, device: str) -> None:
    """Write the trained weights, and a checkpoint that says that training has ended, without the optimiser's state."""
    save_weights(folder, module)
    _save(folder, step, trace, device, {})


def _save(folder: Path, step: int, trace: Trace, device: str, states: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save({"random": random_state(device), "trace": trace.to_plain(), **states}, buffer)
    save_blob(folder, step, buffer.getbuffer())


def restore(folder: Path, module: nn.Module, optimiser: torch.optim.Optimizer, device: str) -> Restored | None:
    """Load the newest intact checkpoint of `folder` into the module and the optimiser; None where there is none.

    Raises HarnessError where it belongs to another network.
    """
    found = newest_blob(folder)
    if found is None:
        return None
    step, data = found
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        ended = "module" not in state
        if ended:
            load_weights(folder, module)
        else:
            module.load_state_dict(state["module"])
            optimiser.load_state_dict(state["optimiser"])
        trace = Trace.from_plain(state["trace"])
        restore_random_state(state["random"], device)
    except Exception as error:  # torch raises many kinds for a checkpoint of another network
        raise HarnessError(
            f"{folder.name}: the checkpoint of step {step} does not fit this method; remove the folder to start afresh"
        ) from error
    return Restored(step, trace, ended, state.get("learner"))


def save_weights(folder: Path, module: nn.Module) -> None:
    """Write every parameter and buffer by name, as safetensors, which cannot execute code when read."""
    from safetensors.torch import save as to_bytes

    state = {name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}
    write_bytes_atomic(folder / WEIGHTS, to_bytes(state))


def load_weights(folder: Path, module: nn.Module) -> None:
    """Load what save_weights wrote. Raises HarnessError where the file is missing or belongs to another network."""
    load_weights_file(folder / WEIGHTS, module)


def load_weights_file(path: Path, module: nn.Module) -> None:
    """As load_weights, from a safetensors file of any name."""
    from safetensors.torch import load_file

    folder = path.parent.name
    if not path.is_file():
        raise HarnessError(f"{folder} holds no {path.name}; run it again, with --keep-weights all")
    try:
        module.load_state_dict(load_file(str(path)))
    except Exception as error:  # safetensors and torch raise kinds of their own
        raise HarnessError(f"{path.name} of {folder} does not fit its method: {one_line(error)[:120]}") from error
