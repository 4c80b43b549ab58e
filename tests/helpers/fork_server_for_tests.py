"""A fork server whose workers have the environment of the test that starts them, not that of the server's start.

fork_server_for_tests.py DESCRIPTOR [MODULE ...]        with the module fake_worker, workers are fake ones
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import NoReturn

from harness.orchestration import worker
from harness.orchestration.process import fork_server

FOLDERS = os.environ.get("PYTHONPATH", "").split(os.pathsep)
VARIABLES = "HARNESS_TEST_VARIABLES"
"""Environment variable: the names of all that a worker has, with a comma between two."""


def run_and_exit(arguments: list[str] | None = None) -> NoReturn:
    """The worker's, after its environment has been made as it was asked for. Modules are found as PYTHONPATH says."""
    wanted = os.environ.pop(VARIABLES).split(",")
    for name in set(os.environ).difference(wanted):
        del os.environ[name]
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path = [*filter(None, given), *(folder for folder in sys.path if folder not in FOLDERS)]
    importlib.invalidate_caches()
    _run_and_exit(arguments)


if __name__ == "__main__":
    if "fake_worker" in sys.argv[2:]:
        import fake_worker

        fork_server.PRELOADED = ("fake_worker",)
        _run_and_exit = fake_worker.run_and_exit
    else:
        _run_and_exit = worker.run_and_exit
    worker.run_and_exit = run_and_exit
    fork_server.main(int(sys.argv[1]), sys.argv[2:])
