"""Fixtures of all tests: a separate cache, and the folder of real images if there is one."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest

# The same inputs every time, so that the suite is red or green for what was changed. HARNESS_FUZZ=5000 draws new ones.
# No deadline: which test is first to import a package, and how busy the machine is, says nothing of the code.
hypothesis.settings.register_profile("same inputs", derandomize=True, deadline=None)
hypothesis.settings.register_profile("new inputs", max_examples=int(os.environ.get("HARNESS_FUZZ", 100)), deadline=None)
hypothesis.settings.load_profile("new inputs" if "HARNESS_FUZZ" in os.environ else "same inputs")

MOST_RESIDENT = 5 * 2**28
"""Resident bytes above which freed memory goes back to the system. Imports alone take 1.0 GB."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take minutes come first, or one process alone would end with them: those here, then methods/."""
    here = Path(__file__).parent
    first = (here, here / "methods")
    items.sort(key=lambda item: first.index(item.path.parent) if item.path.parent in first else len(first))


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests away from the cache of the person who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", autouse=True)
def one_fork_server() -> Iterator[None]:
    """Runs that the tests of a file start in this process share a fork server."""
    from harness.platform.processes import can_fork

    if not can_fork():
        yield
        return
    from shared_fork_server import FAKE_SERVER, SERVER

    with pytest.MonkeyPatch.context() as patch:
        for module in ("process.launchers", "engines.local"):
            patch.setattr(f"harness.orchestration.{module}.fastest_launcher", SERVER.launcher)
        yield
    SERVER.end()
    FAKE_SERVER.end()


class Memory:
    """Gives freed memory back to the system when the process has grown.

    Networks lie in reference cycles whose few objects do not make Python collect them, and glibc keeps what they free:
    after the 38 tests of pairs 2.9 GB. A collection takes most of a second, so it waits for GROWTH since the last.
    """

    GROWTH = 2**28

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
        self.limit = MOST_RESIDENT

    def give_back(self) -> None:
        if self.trim is not None and self.process.memory_info().rss > self.limit:
            gc.collect()
            self.trim(0)
            self.limit = max(MOST_RESIDENT, self.process.memory_info().rss + self.GROWTH)


@pytest.fixture(scope="session")
def memory() -> Memory:
    return Memory()


@pytest.fixture(autouse=True)
def freed_memory_goes_back(memory: Memory) -> Iterator[None]:
    """The process does not grow from test to test."""
    yield
    memory.give_back()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that holds `sartorius/` and `dsb2018/`; skips where there is none."""
    folder = Path(os.environ.get("HARNESS_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "sartorius" / "train.csv").is_file():
        pytest.skip(f"no real images at {folder}; HARNESS_DATA names the folder that holds sartorius/ and dsb2018/")
    return folder


@pytest.fixture(scope="session")
def figures() -> Callable[..., None]:
    """A function that prints a name and numbers, and appends them to the file that HARNESS_FIGURES names.

    benchmarks/reliability.py makes its page of them.
    """

    def add(name: str, **numbers: int) -> None:
        line = json.dumps({"name": name, **numbers})
        print(line)
        if "HARNESS_FIGURES" in os.environ:
            with Path(os.environ["HARNESS_FIGURES"]).open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    return add


@pytest.fixture(scope="session")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs a line in a shell whose `python` and `pip` are those of the tests; gives what it printed.

    Fails, with all that was said, where the exit status is not 0.
    """
    folder = tmp_path_factory.mktemp("bin")
    for name, words in {"python": [sys.executable], "pip": [sys.executable, "-m", "pip"]}.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        (folder / name).chmod(0o755)

    def run(line: str, where: Path, **environment: str) -> str:
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        whole = {**os.environ, "OMP_NUM_THREADS": "1", **environment, "PATH": path}
        done = subprocess.run(line, shell=True, cwd=where, env=whole, capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, f"{line}\nended with status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
