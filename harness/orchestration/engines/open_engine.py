"""The engine that `run` was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.errors import HarnessError
from harness.orchestration.engines.engine import Engine
from harness.orchestration.request import RunRequest


@contextmanager
def open_engine(request: RunRequest, run_dir: Path, modules: Sequence[str]) -> Iterator[Engine]:
    """The engine, while this is entered.

    Args:
        request: what was typed.
        run_dir: of the run.
        modules: what trials will import.

    Raises:
        HarnessError: it is not there, or an option is of another engine.
    """
    _check_options(request)
    if request.engine == "slurm":
        from harness.orchestration.engines.slurm import SlurmEngine

        yield SlurmEngine(run_dir, request.engine_options)
    elif request.engine == "ray":
        from harness.orchestration.engines.ray import ray_engine

        with ray_engine(run_dir, request.address) as distant:
            yield distant
    else:
        from harness.orchestration.engines.local import local_engine

        with local_engine(request.jobs, request.device, modules) as local:
            yield local


def _check_options(request: RunRequest) -> None:
    if request.engine != "local" and request.jobs > 1:
        raise HarnessError(
            f"--jobs is of this machine; --engine {request.engine} runs as many trials as it has room for"
        )
    if request.engine_options and request.engine != "slurm":
        raise HarnessError(f"--engine-options are those of sbatch; --engine {request.engine} takes none")
    if request.address != "auto" and request.engine != "ray":
        raise HarnessError(f"--address is of a Ray cluster; type --engine ray with it, not {request.engine}")
