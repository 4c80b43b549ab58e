"""What a model takes over from the weights it starts from: class heads go by the names of the classes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harness.contract import LoadedWeights
from harness.errors import NoWeightsError
from methods.shared.initial_weights import ClassHead, class_origins, load_tensors

HEADS = (
    ClassHead("scores.", after=1),
    ClassHead("boxes."),
    ClassHead("masks.", before=1),
    ClassHead("mixed.", shared=True),
)


class Net(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Linear(2, 3)
        self.scores = nn.Linear(3, classes + 1)
        self.boxes = nn.Linear(3, 4 * classes)
        self.masks = nn.Linear(3, classes + 1)
        self.mixed = nn.Linear(3, 10 * classes)
        self.agnostic = nn.Linear(3, 1)


def numbered(classes: int) -> dict[str, Tensor]:
    """Weights whose rows hold their own numbers."""
    made = {}
    for name, value in Net(classes).state_dict().items():
        rows = torch.arange(len(value), dtype=torch.float32)
        made[name] = rows.reshape(-1, *[1] * (value.dim() - 1)).expand_as(value).clone()
    return made


def loaded(source: tuple[str, ...], classes: tuple[str, ...]) -> tuple[Net, LoadedWeights]:
    net = Net(len(classes))
    for parameter in net.parameters():
        nn.init.constant_(parameter, -1)
    said = load_tensors(net, numbered(len(source)), "file", source, classes, HEADS)
    return net, said


def test_classes_keep_their_weights_by_name_in_any_order() -> None:
    net, said = loaded(("cort", "shsy5y", "astro"), ("astro", "cort", "new"))
    assert said.classes == {"astro": "kept", "cort": "kept", "new": "new"}
    assert net.scores.bias.tolist() == [2, 0, -1, 3], "background stays last"
    assert net.masks.bias.tolist() == [0, 3, 1, -1], "background stays first"
    assert net.boxes.bias.tolist() == [8, 9, 10, 11, 0, 1, 2, 3, -1, -1, -1, -1]
    assert net.mixed.bias.tolist() == [-1] * 30
    assert said.groups["body"] == {"kept": 2}
    assert said.groups["scores"] == {"partly kept": 2}
    assert said.groups["mixed"] == {"new": 2}


def test_one_class_serves_many() -> None:
    net, said = loaded(("cell",), ("astro", "cell", "cort"))
    assert said.classes == {"astro": "tiled from cell", "cell": "kept", "cort": "tiled from cell"}
    assert net.scores.bias.tolist() == [0, 0, 0, 1]
    assert net.boxes.bias.tolist() == [0, 1, 2, 3] * 3
    assert said.groups["boxes"] == {"tiled": 2}


def test_equal_counts_under_other_names_are_new() -> None:
    net, said = loaded(("a", "b"), ("c", "d"))
    assert said.classes == {"c": "new", "d": "new"}
    assert net.scores.bias.tolist() == [-1, -1, 2]
    assert net.boxes.bias.tolist() == [-1] * 8


def test_the_same_classes_keep_everything() -> None:
    net, said = loaded(("a", "b"), ("a", "b"))
    assert {fate for counts in said.groups.values() for fate in counts} == {"kept"}
    assert net.mixed.bias.tolist() == list(range(20))


def test_unknown_classes_go_by_shape() -> None:
    net = Net(2)
    for classes, fate in ((2, "kept"), (3, "new")):
        said = load_tensors(net, numbered(classes), "file", (), ("a", "b"), HEADS)
        assert said.classes == {}
        assert said.groups["scores"] == {fate: 2}
        assert said.groups["body"] == {"kept": 2}


def test_a_layer_that_only_looks_like_one_of_classes_goes_by_shape() -> None:
    net = nn.ModuleDict({"boxes": nn.Linear(3, 1)})
    weights = {name: torch.ones_like(value) for name, value in net.state_dict().items()}
    said = load_tensors(net, weights, "file", ("cell",), ("a", "b", "c"), HEADS)
    assert said.groups["boxes"] == {"kept": 2}


def test_anything_else_must_fit() -> None:
    weights = numbered(1) | {"body.weight": torch.zeros(5, 5)}
    with pytest.raises(NoWeightsError, match=r"1 of 12 tensors .* the first 'body.weight'"):
        load_tensors(Net(1), weights, "file", ("a",), ("a",), HEADS)
    said = load_tensors(Net(1), weights, "file", ("a",), ("a",), HEADS, ("body.",))
    assert said.groups["body"] == {"new": 1, "kept": 1}


def test_where_each_class_is_from() -> None:
    assert class_origins(("a", "b"), ("b", "c")) == [1, None]
    assert class_origins(("a",), ("b", "a")) == [0, 0]
    assert class_origins((), ("a",)) == [None]
