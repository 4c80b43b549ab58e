from __future__ import annotations

from typing import Any

import pytest

from harness.results.comparability import score_differences, time_differences
from harness.results.schema import DataFacts, PostprocessRule, RunRecord, Scores

DATA = {"source": "s", "fingerprint": "f", "classes": ["trial"], "images": 3, "trials": 9, "splits": {}}
DATA["split_fingerprint"] = "p"


def record(**changes: Any) -> RunRecord:
    fields = {
        "key": "k",
        "status": "ok",
        "method": "mask_rcnn",
        "seed": 0,
        "preset": "quick",
        "budget": "60s",
        "command": "",
        "data": DataFacts(**DATA),
        "scores": Scores(scoring_version="1", iou_map=0.5),
        "rule": PostprocessRule(score_thresholds={"trial": 0.5}, min_areas={"trial": 1}, chosen_on="calibration"),
        "machine": {"cpu": "a", "cores_usable": 2, "gpus": []},
        "settings": {"device": "cpu"},
    }
    return RunRecord(**{**fields, **changes})


DIFFERENCES = {
    "budget": {"budget": "30s"},
    "data": {"data": DataFacts(**{**DATA, "fingerprint": "g"})},
    "split": {"data": DataFacts(**{**DATA, "split_fingerprint": "q"})},
    "scoring version": {"scores": Scores(scoring_version="0", iou_map=0.5)},
    "rule": {"rule": PostprocessRule(score_thresholds={"trial": 0.5}, min_areas={"trial": 1}, chosen_on="given")},
    "evaluation": {"settings": {"device": "cpu", "evaluation": {"minimum_score": 0.1}}},
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_record_that_differs_is_named_with_what_differs(name: str) -> None:
    usual = record(settings={"device": "cpu", "evaluation": {"minimum_score": 0.05}})
    odd = usual.model_copy(update=DIFFERENCES[name])
    assert score_differences([usual, odd, usual]) == [[], [name], []]


def test_two_ways_to_write_a_budget_are_one() -> None:
    assert score_differences([record(budget="60s"), record(budget="1m")]) == [[], []]


def test_a_crash_without_scores_does_not_differ_for_that() -> None:
    crash = record(status="crash", scores=None, rule=None, data=None)
    assert score_differences([record(), crash, record()]) == [[], [], []]


def test_another_machine_keeps_its_score_but_not_its_times() -> None:
    other = record(machine={"cpu": "b", "cores_usable": 64, "gpus": []})
    records = [record(), record(), other]
    assert score_differences(records) == [[], [], []]
    assert time_differences(records) == [[], [], ["machine"]]


def test_another_device_of_one_machine_keeps_no_times_either() -> None:
    assert time_differences([record(), record(), record(settings={"device": "cuda"})]) == [[], [], ["device"]]


def test_an_unreadable_budget_is_marked_and_stops_no_table() -> None:
    assert score_differences([record(), record(budget="soon"), record()]) == [[], ["budget"], []]
