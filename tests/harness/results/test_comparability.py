from __future__ import annotations

from typing import Any

import pytest

from harness.results.comparability import unlike_scores, unlike_times
from harness.results.schema import DataFacts, Rule, RunRecord, Scores

DATA = {"source": "s", "fingerprint": "f", "classes": ["cell"], "images": 3, "cells": 9, "splits": {}}
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
        "rule": Rule(score_thresholds={"cell": 0.5}, min_areas={"cell": 1}, chosen_on="calibration"),
        "machine": {"cpu": "a", "cores_usable": 2, "gpus": []},
        "settings": {"device": "cpu"},
    }
    return RunRecord(**{**fields, **changes})


DIFFERENCES = {
    "budget": {"budget": "30s"},
    "data": {"data": DataFacts(**{**DATA, "fingerprint": "g"})},
    "split": {"data": DataFacts(**{**DATA, "split_fingerprint": "q"})},
    "scoring version": {"scores": Scores(scoring_version="0", iou_map=0.5)},
    "rule": {"rule": Rule(score_thresholds={"cell": 0.5}, min_areas={"cell": 1}, chosen_on="given")},
    "evaluation": {"settings": {"device": "cpu", "evaluation": {"minimum_score": 0.1}}},
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_record_that_differs_is_named_with_what_differs(name: str) -> None:
    usual = record(settings={"device": "cpu", "evaluation": {"minimum_score": 0.05}})
    odd = usual.model_copy(update=DIFFERENCES[name])
    assert unlike_scores([usual, odd, usual]) == [[], [name], []]


def test_two_ways_to_write_a_budget_are_one() -> None:
    assert unlike_scores([record(budget="60s"), record(budget="1m")]) == [[], []]


def test_a_crash_without_scores_does_not_differ_for_that() -> None:
    crash = record(status="crash", scores=None, rule=None, data=None)
    assert unlike_scores([record(), crash, record()]) == [[], [], []]


def test_another_machine_keeps_its_score_but_not_its_times() -> None:
    other = record(machine={"cpu": "b", "cores_usable": 64, "gpus": []})
    records = [record(), record(), other]
    assert unlike_scores(records) == [[], [], []]
    assert unlike_times(records) == [[], [], ["machine"]]


def test_another_device_of_one_machine_keeps_no_times_either() -> None:
    assert unlike_times([record(), record(), record(settings={"device": "cuda"})]) == [[], [], ["device"]]


def test_an_unreadable_budget_is_marked_and_stops_no_table() -> None:
    assert unlike_scores([record(), record(budget="soon"), record()]) == [[], ["budget"], []]
