"""Tests that need a GPU: losses equal to those of a CPU, no hidden synchronisation, compilation, whole runs."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_fixtures import EVERYTHING, SMALL, discs, recipe, task

from harness.catalog import load_catalog
from harness.results.io import read_records

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

SAMPLES = [discs(12, side=64, seed=1), discs(7, side=64, seed=2)]


def built(device: str, **settings: Any) -> Any:
    base = recipe()
    torch.manual_seed(0)
    model = base.engine.build(base, dataclasses.replace(task(**SMALL), device=device, settings={**SMALL, **settings}))
    return model.module.train()


def losses(module: Any) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in module.compute_losses(SAMPLES).items()}


def test_losses_are_those_of_the_cpu() -> None:
    on_cpu, on_gpu = built("cpu", **EVERYTHING), built("cuda", **EVERYTHING)
    on_gpu.load_state_dict(on_cpu.state_dict())
    assert losses(on_gpu) == pytest.approx(losses(on_cpu), rel=0.02)


def test_a_step_waits_for_nms_only() -> None:
    """Once for each image; the boxes that are positive are awaited by an event, which is no synchronisation."""
    module = built("cuda")
    losses(module)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            total = sum(module.compute_losses(SAMPLES).values())
            total.backward()  # type: ignore[union-attr]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waited = [str(one.message) for one in told if "synchronizing" in str(one.message)]
    assert len(waited) <= len(SAMPLES), waited


def test_a_compiled_network_has_the_same_losses() -> None:
    plain, compiled = built("cuda", **EVERYTHING), built("cuda", **EVERYTHING, compile=True)
    compiled.load_state_dict(plain.state_dict())
    assert losses(compiled) == pytest.approx(losses(plain), rel=0.02)
    assert compiled.compile_status.failure is None


def test_every_method_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness", "run", "--methods", "all", "--preset", "smoke", "--device", "cuda"]
    done = subprocess.run([*command, "--out", str(tmp_path), "--quiet"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    records, _ = read_records(tmp_path)
    assert {record.status for record in records} == {"ok"}
    assert len(records) == len(load_catalog().defaults())
    assert all(record.cost.peak_gpu_allocated for record in records)
