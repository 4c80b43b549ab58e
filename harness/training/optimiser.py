"""The optimiser, the same for all methods of a run, from the preset."""

from __future__ import annotations

import torch
from torch import nn

from harness.config.preset import Training

NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
    nn.modules.instancenorm._InstanceNorm,
)


def build(module: nn.Module, training: Training) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW, over the trainable parameters.

    Normalisation layers and scalars have no weight decay. A scalar is a parameter of one number that is not a bias.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    seen: set[int] = set()
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            scalar = parameter.numel() == 1 and name != "bias"
            (plain if isinstance(part, NORMS) or scalar else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": training.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    # fused: one pass over the parameters instead of five; on two cores an AdamW step of 14 M takes 9 ms, not 45
    if training.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=training.learning_rate, momentum=training.momentum, fused=True)
    return torch.optim.AdamW(groups, lr=training.learning_rate, fused=True)
