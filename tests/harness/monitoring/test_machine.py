from __future__ import annotations

import getpass
import json
import platform
from importlib.metadata import version
from pathlib import Path

import psutil

from harness.monitoring.machine import git_commit, machine_facts, package_versions


def test_the_machine_is_described_and_nobody_is_named() -> None:
    facts = machine_facts()
    assert facts["cpu"]
    assert 1 <= facts["cores_usable"] <= facts["cores_logical"]
    assert 0 < facts["memory"] <= psutil.virtual_memory().total
    assert facts["python"].endswith(platform.python_version())
    values = json.dumps(facts)
    assert platform.node() not in facts["system"].split()
    assert str(Path.home()) + "/" not in values
    assert f"/{getpass.getuser()}/" not in values


def test_versions_are_those_installed() -> None:
    found = package_versions()
    assert found["numpy"] == version("numpy")
    assert found["psutil"] == version("psutil")
    assert found["pytest"] == version("pytest"), "what is loaded is named, though the harness does not require it"


def test_every_version_is_what_the_package_says_of_itself() -> None:
    found = package_versions()
    assert len(found) > 20
    assert found == {name: version(name) for name in found}


def test_the_commit_is_a_commit() -> None:
    commit = git_commit().removesuffix("+changes")
    assert commit == "" or (len(commit) == 40 and set(commit) <= set("0123456789abcdef"))
