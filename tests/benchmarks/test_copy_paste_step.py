"""The parts of what Copy-Paste adds to a step are figures, also where other processes make the batches."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import bench_copy_paste_step as bench
import numpy as np
import pytest
from systems import needs_forks

from harness.training.prefetch import ProcessBatches


@needs_forks
def test_the_time_to_make_a_batch_is_known_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [SimpleNamespace(instances=[0, 1, 2])]
    trainer: Any = SimpleNamespace(
        stream=SimpleNamespace(batch=lambda step: made), train_step=lambda batch, rate: {"loss": np.float32(0)}
    )
    monkeypatch.setattr(bench, "prefetched", lambda make, start, device: ProcessBatches(make, start, workers=1))
    case = bench.Case("tiny", 32, 1, 3, 0)
    live = {method: bench.Side.live(trainer) for method in bench.METHODS}
    held = {method: bench.Side.held(trainer, case.steps) for method in bench.METHODS}
    for side in (*live.values(), *held.values()):
        for _ in range(bench.SETTLING + case.steps):
            side.step()
    for side in live.values():
        side.batches.close()
    rows = bench.rows_of(live, held, bench.WITH, case)
    assert rows
    assert not any("nan" in row["note"] or np.isnan(row["ours"]) for row in rows)
