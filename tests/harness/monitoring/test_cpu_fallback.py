"""What ran on the CPU for want of a kernel on Apple's GPU stands in the record."""

from __future__ import annotations

import warnings

import pytest

from harness.monitoring.cpu_fallback import CpuFallbacks

SAID = (
    "The operator 'aten::grid_sampler_3d' is not currently supported on the MPS backend and will fall back to run on "
    "the CPU. This may have performance implications."
)


def test_the_operator_that_torch_names_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *more, **named: shown.append(str(message)))
    found = CpuFallbacks()
    assert found.notes() == []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for text in (SAID, SAID, "something else"):
            warnings.warn(text, stacklevel=1)
    (note,) = found.notes()
    assert "run on the CPU: aten::grid_sampler_3d, perhaps others" in note
    assert shown == [SAID, SAID, "something else"]
