"""Typed options: what is recorded, what is refused and in which words."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError, model_validator

from harness.contract import Part
from harness.errors import HarnessError
from harness.options import Options, Settings, first_problem, options_type_of, range_of, recorded_if_set, validate


class NetOptions(Options):
    depth: Literal[10, 20] = Field(10, description="layers")
    rate: float = Field(0.5, ge=0, le=1)
    most: int | None = recorded_if_set(None, ge=1)
    widths: tuple[int, ...] = (1, 2)
    levels: tuple[int, int] = (2, 6)
    flip: bool = False
    norm: Literal["BN", "GN"] | None = None
    scale: float = Field(1.0, gt=0)
    width: int = Field(8, ge=8, multiple_of=8)

    @model_validator(mode="after")
    def _check_depth(self) -> NetOptions:
        if self.depth == 20 and self.rate > 0.5:
            raise ValueError("depth=20 needs a rate of 0.5 at most")
        return self


def build(task: object, options: NetOptions, *, channels: int = 3) -> tuple[NetOptions, int]:
    return options, channels


PART = Part("net", f"{__name__}:build", {"depth": 20}, {"small": {"depth": 10, "most": 3}}, NetOptions)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dept": 10}, "net: no option 'dept'; did you mean 'depth'? (there are: depth, rate, "),
        ({"depth": 15}, "net: depth=15 must be one of 10, 20"),
        ({"rate": 1.5}, "net: rate=1.5 must be a number from 0 to 1"),
        ({"rate": True}, "net: rate=True must be a number from 0 to 1"),
        ({"rate": "half"}, "net: rate='half' must be a number from 0 to 1"),
        ({"most": 0}, "net: most=0 must be a whole number, 1 or more, or none"),
        ({"widths": [1, 2.5]}, "net: widths must be a list, each a whole number"),
        ({"levels": [1]}, "net: levels must be a list of 2, each a whole number"),
        ({"flip": 1}, "net: flip=1 must be true or false"),
        ({"norm": "LN"}, "net: norm='LN' must be one of BN, GN, or none"),
        ({"scale": 0}, "net: scale=0 must be a number above 0"),
        ({"width": 12}, "net: width=12 must be a whole number, 8 or more, a multiple of 8"),
        ({"depth": 20, "rate": 0.6}, "net: depth=20 needs a rate of 0.5 at most"),
    ],
)
def test_a_wrong_option_is_one_line_with_name_and_range(values: dict[str, Any], said: str) -> None:
    with pytest.raises(HarnessError) as caught:
        validate(NetOptions, values, "net: ")
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_values_are_json_and_whole_numbers_may_be_floats() -> None:
    made = validate(NetOptions, {"rate": 1, "widths": [3], "levels": [2, 5]})
    assert (made.rate, made.widths, made.levels) == (1.0, (3,), (2, 5))


def test_options_declared_recorded_if_set_are_left_out_of_a_record_unless_set() -> None:
    assert "most" not in NetOptions().recorded()
    assert NetOptions(most=None).recorded()["most"] is None
    assert NetOptions().recorded()["widths"] == [1, 2]


def test_a_part_lays_sizes_and_typed_options_over_its_own() -> None:
    assert PART.checked().options["depth"] == 20
    small = PART.sized("small").checked()
    assert (small.options["depth"], small.options["most"]) == (10, 3)
    assert small.checked() == small
    with pytest.raises(HarnessError, match="here: rate=2 must be"):
        PART.with_options(rate=2).checked("here: ")


def test_a_part_read_from_a_record_builds_with_the_same_options() -> None:
    """A record holds no class: the factory's signature names it."""
    recorded = Part(PART.name, PART.factory, PART.sized("small").checked().options)
    assert options_type_of(build) is NetOptions
    assert recorded.build(None, channels=5) == PART.sized("small").build(None, channels=5)


def test_an_old_record_may_lack_options_that_came_later() -> None:
    options, _ = Part("net", PART.factory, {"depth": 10}).build(None)
    assert options == NetOptions()


class EngineSettings(Settings):
    width: int = Field(256, ge=1)


def test_an_engine_reads_its_own_keys_of_the_table_that_all_engines_share() -> None:
    assert EngineSettings.read({"width": 3, "compile": True}).width == 3
    assert EngineSettings.read({}).width == 256
    with pytest.raises(HarnessError, match=r"\[model\] table: width=0 must be a whole number, 1 or more"):
        EngineSettings.read({"width": 0})


class Inner(BaseModel, extra="forbid"):
    rate: float = Field(gt=0)


class Outer(BaseModel, extra="forbid"):
    rows: tuple[Inner, ...] = ()
    one: Inner | None = None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"one": {"rat": 1}}, "no option 'one.rat'; did you mean 'rate'? (there are: rate)"),
        ({"one": {}}, "one.rate is missing"),
        ({"rows": [{"rate": 1}, {"rate": 0}]}, "rows.rate=0 must be a number above 0"),
    ],
)
def test_problems_in_nested_tables_name_the_way_to_them(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(values)
    assert first_problem(Outer, caught.value) == said


def test_ranges_are_words() -> None:
    assert range_of(NetOptions, "depth") == "one of 10, 20"
    assert range_of(Outer, "rows").startswith("a list")
