"""From what a user types to a recipe."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.catalog import Catalog, Entry
from harness.contract import Card, Init, Method, Part, Task
from harness.errors import HarnessError
from harness.stacks import ENGINES_OWN, resolve, resolve_init, split_methods

HERE = f"{__name__}:"


def build_backbone(task: Task, depth: int = 50, *, init: Init) -> tuple[int, Init]:
    return depth, init


def build_augment(task: Task, p: float = 0.5, sizes: tuple[int, ...] = (), mode: str = "plain") -> dict[str, Any]:
    return {"p": p, "sizes": sizes, "mode": mode}


def build_anything(task: Task, **options: Any) -> dict[str, Any]:
    return options


def build_engine(recipe: Any, task: Task, width: int = 64) -> int:
    return width


def _method(
    name: str, labels: str = "full masks", supported_slots: tuple[str, ...] | None = None, **fills: Part
) -> Method:
    card = Card(name, "paper", 2021, "venue", "changes", labels)
    return (
        Method(name, card, fills, baseline="engine" in fills)
        if supported_slots is None
        else Method(name, card, fills, supported_slots=supported_slots)
    )


@pytest.fixture
def catalog() -> Catalog:
    augment = Part("plain", HERE + "build_augment", {"p": 0.5}, {"small": {"p": 0.25}})
    backbone = Part("resnet", HERE + "build_backbone", {"depth": 50}, {"small": {"depth": 18}})
    return Catalog(
        {
            m.name: Entry(m, "here")
            for m in (
                _method(
                    "mask_rcnn",
                    engine=Part("engine", HERE + "build_engine"),
                    backbone=backbone,
                    mask_head=Part("fcn", HERE + "build_anything"),
                    supervision=Part("full", HERE + "build_anything"),
                    augment=augment,
                ),
                _method("container", backbone=Part("container", HERE + "build_backbone")),
                _method("copy_paste", augment=Part("copy_paste", HERE + "build_augment", {"p": 1.0})),
                _method("geometric", augment=Part("geometric", HERE + "build_augment")),
                _method("pointsup", labels="10 points", supervision=Part("pointsup", HERE + "build_anything")),
                _method("starter", supported_slots=("init", "augment"), engine=Part("starter", HERE + "build_engine")),
            )
        }
    )


def stack(catalog: Catalog, text: str, size: str = "full") -> Any:
    return resolve(catalog, text, size, Init("scratch"))


def test_the_baseline_alone(catalog: Catalog) -> None:
    found = stack(catalog, "mask_rcnn", "small")
    assert (found.name, found.slots_changed, found.labels) == ("mask_rcnn", (), "full masks")
    assert found.baseline == "mask_rcnn"
    assert found.recipe.backbone.options == {"depth": 18}
    assert found.recipe.augment.options == {"p": 0.25}
    assert found.recipe.init.build(None) == Init("scratch", None)


def test_three_changes_in_any_order_are_one_stack(catalog: Catalog) -> None:
    one = stack(catalog, "container+copy_paste(p=0.5)+pointsup")
    other = stack(catalog, " pointsup + mask_rcnn + copy_paste( p = .5 )+container")
    assert one == other
    assert one.name == "container+pointsup+copy_paste(p=0.5)"
    assert one.slots_changed == ("backbone", "supervision", "augment")
    assert one.labels == "10 points"
    assert one.recipe.augment.options == {"p": 0.5}
    assert [m.name for m in one.methods] == ["mask_rcnn", "container", "pointsup", "copy_paste"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("copy_paste+geometric", "copy_paste and geometric both change the slot augment"),
        ("copy_paste+copy_paste(p=0.1)", "both change the slot augment"),
        ("starter+container", "container changes the slot backbone, which the engine of starter does not read"),
        ("starter+pointsup", "supervision"),
        ("starter+mask_rcnn", "engine of their own"),
        ("contaner", "did you mean 'container'"),
        ("copy_paste(probability=1)", "no option 'probability'.*it has: mode, p, sizes"),
        ("container(dept=3)", "did you mean 'depth'"),
        ("container(init=coco)", "no option 'init'"),
        ("copy_paste(p)", "not name=value"),
        ("copy_paste(p=0.5", "not closed"),
        ("copy_paste)p=0.5(", "closes that was not opened"),
        ("copy_paste(p=0.5)x", "follows the options"),
        ("copy_paste(p={1,2})", "not a number"),
        ("copy_paste(p=1e999)", "not a number"),
    ],
)
def test_a_stack_that_cannot_be_is_one_clear_line(catalog: Catalog, text: str, why: str) -> None:
    with pytest.raises(HarnessError, match=why) as caught:
        stack(catalog, text)
    assert "\n" not in str(caught.value)


def test_another_engine_keeps_the_slots_it_reads(catalog: Catalog) -> None:
    found = stack(catalog, "starter+copy_paste")
    assert found.slots_changed == ("engine", "augment")
    assert found.recipe.engine.name == "starter"
    assert found.recipe.backbone == found.recipe.mask_head == ENGINES_OWN
    assert found.recipe.supervision.name == "full"
    assert found.recipe.init.name == "scratch"


@pytest.mark.parametrize(
    ("written", "value"),
    [("3", 3), ("true", True), ("False", False), ("none", None), ("plain", "plain"), ("'a,b+c'", "a,b+c"),
     ("[1,2]", [1, 2]), ("(0.1, 2)", [0.1, 2]), ("-1e-3", -0.001)],
)  # fmt: skip
def test_values(catalog: Catalog, written: str, value: Any) -> None:
    found = stack(catalog, f"copy_paste(mode={written})")
    assert found.recipe.augment.options["mode"] == value
    assert stack(catalog, found.name) == found


def test_options_of_the_baseline_go_to_the_part_that_takes_them(catalog: Catalog) -> None:
    found = stack(catalog, "mask_rcnn(depth=34,width=8)")
    assert found.recipe.backbone.options["depth"] == 34
    assert found.recipe.engine.options["width"] == 8
    assert stack(catalog, "mask_rcnn(width=8)+pointsup").name == "mask_rcnn(width=8)+pointsup"


def test_splitting_a_list(catalog: Catalog) -> None:
    assert split_methods("a, b(p=1,q=[1,2]) ,c+d,a", catalog) == ["a", "b(p=1,q=[1,2])", "c+d"]
    assert split_methods("all,x", catalog) == [*catalog.defaults(), "x"]
    with pytest.raises(HarnessError, match="no method named"):
        split_methods(" , ", catalog)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(value=_values)
def test_any_json_value_that_is_written_is_read_again(value: Any) -> None:
    from harness.stacks import _parse_term, _Term

    term = _Term("name", {"option": value})
    assert json.dumps(_parse_term(str(term)).options) == json.dumps(term.options)


def test_a_row_tells_of_masks_that_are_read_beside_the_loss() -> None:
    """Pasting needs full masks although the loss sees ten points. The row must say so."""
    from harness.catalog import load_catalog

    both = resolve(load_catalog(), "copy_paste+pointsup", "small", Init())
    assert both.labels == "boxes and 10 points a cell; full masks, to paste"
    assert resolve(load_catalog(), "copy_paste", "small", Init()).labels == "full masks"
    assert resolve(load_catalog(), "container+pointsup", "small", Init()).labels == "boxes and 10 points a cell"


@pytest.mark.parametrize(
    ("stack", "seconds"),
    [("mask_rcnn", 79.2), ("container+pointsup", 16.0), ("pointsup(points=20)", 25.0), ("copy_paste+pointsup", 79.2)],
)
def test_labelling_a_cell_takes_as_long_as_what_is_read_of_it(stack: str, seconds: float) -> None:
    """An outline 79.2 s, a box 7 s, a point 0.9 s."""
    from harness.catalog import load_catalog

    assert resolve(load_catalog(), stack, "small", Init()).label_seconds == pytest.approx(seconds)


def test_a_start_of_its_own_comes_before_that_of_all_rows() -> None:
    from harness.catalog import load_catalog

    catalog = load_catalog()
    default = resolve_init(catalog, "coco", "small")
    assert resolve(catalog, "copy_paste", "small", default).recipe.init.name == "coco"
    own = resolve(catalog, "copy_paste+scratch", "small", default)
    assert own.recipe.init.name == "scratch"
    assert own.slots_changed == ("init", "augment")
    assert resolve(catalog, "otsu_watershed", "small", default).recipe.init == ENGINES_OWN


def test_names_show_no_private_folder() -> None:
    from harness.catalog import load_catalog

    found = resolve(load_catalog(), "copy_paste+from_run(run=/home/ann/secret/runs/usi,seed=1)", "small", Init())
    assert found.name == 'from_run(run=".../runs/usi",seed=1)+copy_paste'
    assert found.recipe.init.options["run"] == "/home/ann/secret/runs/usi", "where it is read"
