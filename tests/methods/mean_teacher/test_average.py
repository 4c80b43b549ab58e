"""The average of weights is that of its formula, and takes the place of the weights without a copy."""

from __future__ import annotations

import torch
from torch import nn

from methods.mean_teacher.average import WeightAverage


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def step(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.randn_like(parameter)


def test_after_one_step_the_average_is_that_of_its_formula() -> None:
    module = network()
    average = WeightAverage(module, 0.999)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for t, decay in ((0, 1 / 10), (1, 2 / 11)):
        assert average.decay_of_next() == decay
        module(torch.randn(8, 3))  # moves the buffers of the norm
        step(module)
        average.update()
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                before[name] = decay * before[name] + (1 - decay) * value
                torch.testing.assert_close(average.values[name], before[name])
            else:
                assert int(average.values[name]) == t + 1


def test_the_decay_ends_at_what_was_asked_for() -> None:
    average = WeightAverage(network(), 0.99)
    average.steps = 10_000
    assert average.decay_of_next() == 0.99


def test_the_average_takes_the_place_of_the_weights_and_gives_it_back() -> None:
    module = network().eval()
    average = WeightAverage(module, 0.999)
    x = torch.randn(5, 3)
    first = module(x)
    parameters = list(module.parameters())
    step(module)
    changed = module(x)
    with average.in_place_of_weights():
        assert torch.equal(module(x), first)
        assert all(a is b for a, b in zip(parameters, module.parameters(), strict=True)), (
            "an optimiser still knows them"
        )
    assert torch.equal(module(x), changed)
    assert not any(value.requires_grad for value in average.values.values())


def test_a_stored_average_goes_on_where_it_was() -> None:
    module = network()
    one, other = WeightAverage(module, 0.9), WeightAverage(module, 0.9)
    step(module)
    one.update()
    other.load({name: value.clone() for name, value in one.values.items()}, one.steps)
    step(module)
    one.update()
    other.update()
    assert all(torch.equal(value, other.values[name]) for name, value in one.values.items())
