"""Invented records in the form that runs write. Nothing is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.evaluation.schema import PostprocessRule, Scores
from harness.results.io import write_record
from harness.results.schema import Cost, DataFacts, RunRecord

IMAGES = 40
CPU = {"cpu": "A CPU", "cores_usable": 2, "gpus": []}

Make = Callable[..., RunRecord]


@pytest.fixture
def make() -> Make:
    """make(method, seed, quality): a good record; further fields by name, those of scores and cost too."""

    def record(method: str = "mask_rcnn", seed: int = 0, quality: float = 0.5, **fields: Any) -> RunRecord:
        rng = np.random.default_rng([seed, len(method), *method.encode()])
        hard = np.random.default_rng(0).normal(0, 0.1, IMAGES)
        by_image = np.clip(quality + hard + rng.normal(0, 0.03, IMAGES) + rng.normal(0, 0.005), 0, 1)
        scores = {
            "scoring_version": "1",
            "iou_map": float(by_image.mean()),
            "by_type": {"cort": float(by_image[:20].mean()), "astro": float(by_image[20:].mean())},
            "by_image": {f"image{i}": float(v) for i, v in enumerate(by_image)},
            "ap": quality / 2,
            "ap50": quality,
        }
        cost = {"train_seconds": 75.0, "iterations": 100, "seconds_per_iteration": 0.7, "peak_host_rss": 2**30}
        plain = {
            "key": "",
            "status": "ok",
            "method": method,
            "seed": seed,
            "preset": "quick",
            "budget": "75s",
            "command": "python -m harness run --methods all",
            "recipe": {"backbone": {"name": "resnet", "factory": "m:f", "options": {}}},
            "settings": {"training": {"crop": 128, "learning_rate": 0.001}, "threshold": None, "device": "cpu"},
            "slots_changed": [] if method == "mask_rcnn" else ["backbone"],
            "labels": "full masks",
            "baseline": "mask_rcnn",
            "data": data_facts(),
            "rule": PostprocessRule(score_thresholds={"cell": 0.5}, min_areas={"cell": 10}, chosen_on="calibration"),
            "scores": Scores(**{**scores, **_take(fields, Scores)}),
            "cost": Cost(**{**cost, **_take(fields, Cost)}),
            "total_loss": 1.5,
            "machine": CPU,
            "finished": "2021-12-01T10:00:00+00:00",
        }
        made = RunRecord(**{**plain, **fields})
        return made.model_copy(update={"key": f"{hash_of(made):016x}"})

    return record


@pytest.fixture
def run_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """run_of(records, name): a run's folder that holds them."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # fsync only guards against power cuts

    def write(records: list[RunRecord], name: str = "run") -> Path:
        for i, record in enumerate(records):
            folder = tmp_path / name / "trials" / f"{i:05d}"
            folder.mkdir(parents=True)
            write_record(folder / "record.json", record)
        return tmp_path / name

    return write


def data_facts(**changes: str) -> DataFacts:
    plain = {
        "source": "synthetic",
        "fingerprint": "d" * 64,
        "classes": ["cell"],
        "images": 60,
        "cells": 900,
        "splits": {"validation": [f"image{i}" for i in range(IMAGES)]},
        "split_fingerprint": "e" * 64,
    }
    return DataFacts(**{**plain, **changes})


def hash_of(record: RunRecord) -> int:
    import zlib

    return zlib.crc32(record.model_dump_json(exclude={"key"}).encode())


def _take(fields: dict[str, Any], model: Any) -> dict[str, Any]:
    return {name: fields.pop(name) for name in list(fields) if name in model.model_fields}
