"""Runs a module bound to some cores: `python -m harness.orchestration.process.pinned 0,2 MODULE [ARGUMENT ...]`.

The binding comes before anything else is imported: numpy and torch count the cores when they are loaded, and keep as
many threads when they are bound to fewer later.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence

from harness.platform.processes import bind_to_cores

MODULE = "harness.orchestration.process.pinned"


def pinned_words(cores: Sequence[int], words: Sequence[str]) -> list[str]:
    """The command `PYTHON -m MODULE ...` bound to these cores; as it is where there are none."""
    if not cores or tuple(words[1:2]) != ("-m",):
        return list(words)
    return [words[0], "-m", MODULE, ",".join(map(str, cores)), *words[2:]]


if __name__ == "__main__":
    bind_to_cores([int(number) for number in sys.argv[1].split(",")])
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
