"""The methods of a run with the presets that were tuned for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.errors import HarnessError
from harness.orchestration.plan import Contender
from harness.orchestration.tuning.record import TuningRecord


def tuned_contenders(
    contenders: Sequence[Contender], tuning: TuningRecord, tell: Callable[[str], None]
) -> list[Contender]:
    """Each method with its own preset. tell: called with a line where some methods were not tuned.

    Raises:
        HarnessError: none of the methods was tuned, or the rows are those of a preset.
    """
    if any(contender.name for contender in contenders):
        raise HarnessError("--tuned needs --methods; the rows of a preset have settings of their own")
    found = []
    for contender in contenders:
        preset, facts = tuning.preset_of(contender.resolved.name)
        found.append(replace(contender, preset=preset, tuned=facts))
    without = [contender.resolved.name for contender in found if contender.tuned is None]
    if len(without) == len(found):
        raise HarnessError(f"none of {', '.join(without)} was tuned; --tuned has: {', '.join(tuning.tuned_methods)}")
    if without:
        tell(f"not tuned, and run with the preset {tuning.preset.name} as it is: {', '.join(without)}")
    return found
