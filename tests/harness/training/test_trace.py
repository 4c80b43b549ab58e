from __future__ import annotations

import numpy as np

from harness.training.trace import Trace


def test_trace_columns_stay_level_and_finals_are_means_of_the_end() -> None:
    trace = Trace()
    for step in range(100):
        losses = {"always": float(step)} | ({"late": 1.0} if step >= 50 else {})
        trace.add(step + 1.0, 0.0, 0.1, losses)
    assert {len(v) for v in trace.losses.values()} == {100}
    assert trace.final_losses() == {"always": 97.0, "late": 1.0}
    assert np.allclose(trace.step_times(), 1)
    rows = trace.to_csv().splitlines()
    assert rows[0] == "step,seconds,data_wait,learning_rate,always,late"
    assert len(rows) == 101
    assert Trace.from_plain(trace.to_plain()).losses["always"] == trace.losses["always"]
