"""Which parameters the optimiser decays."""

from __future__ import annotations

import torch
from torch import nn

from harness.config.preset import Training
from harness.training import optimiser


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 3)
        self.norm = nn.GroupNorm(1, 1)
        self.share = nn.Parameter(torch.zeros(1))
        self.temperature = nn.Parameter(torch.zeros(()))


def test_norms_and_scalars_are_not_decayed_and_biases_are() -> None:
    network = Network()
    training = Training(crop=64, batch=1, learning_rate=0.1, weight_decay=0.3)
    decay = {id(p): g["weight_decay"] for g in optimiser.build(network, training).param_groups for p in g["params"]}
    assert {name: decay[id(p)] for name, p in network.named_parameters()} == {
        "share": 0.0,
        "temperature": 0.0,
        "conv.weight": 0.3,
        "conv.bias": 0.3,
        "norm.weight": 0.0,
        "norm.bias": 0.0,
    }
