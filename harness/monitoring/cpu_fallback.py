"""Which operators of a trial on Apple's GPU ran on the CPU, for want of a kernel for the GPU."""

from __future__ import annotations

import re
import warnings
from typing import Any

FALLBACK = "PYTORCH_ENABLE_MPS_FALLBACK"
"""Environment variable, read when torch is imported: "1" lets such operators run on the CPU, else they are errors."""

_SAID = re.compile(r"operator '([\w:.]+)' is not currently (?:supported|implemented) (?:on|for) the MPS")


class CpuFallbacks:
    """Collects what torch warns of from now on; everything is still shown. torch names the first such operator only."""

    def __init__(self) -> None:
        self.operators: list[str] = []
        shown = warnings.showwarning

        def show(message: Warning | str, *more: Any, **named: Any) -> None:
            if found := _SAID.search(str(message)):
                self.operators.append(found[1])
            shown(message, *more, **named)

        warnings.showwarning = show

    def notes(self) -> list[str]:
        """A sentence for the record; none where nothing was said."""
        names = ", ".join(dict.fromkeys(self.operators))
        return [f"without a kernel for Apple's GPU and so run on the CPU: {names}, perhaps others"] if names else []
