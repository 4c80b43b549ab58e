"""Facts on the machine in the JSON of each benchmark: those of the harness, without a host name."""

from __future__ import annotations

from typing import Any

from harness.monitoring.machine import git_commit, machine_facts, package_versions


def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:
    machine_info.clear()
    machine_info.update({**machine_facts(), "versions": package_versions(), "commit": git_commit()})
