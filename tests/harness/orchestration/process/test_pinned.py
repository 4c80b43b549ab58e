"""A process is bound to its cores before it loads what counts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from systems import reads_pythonpath

from harness.orchestration.process.pinned import pinned_words
from harness.platform.processes import cores_in_order, usable_core_numbers

PROBE = """
import json, sys, psutil
print(json.dumps([psutil.Process().cpu_affinity(), sys.argv[1:], "numpy" in sys.modules, __name__]))
"""


@reads_pythonpath
@pytest.mark.skipif(not hasattr(psutil.Process, "cpu_affinity"), reason="this system binds no process to cores")
def test_a_module_runs_on_its_cores_alone(tmp_path: Path) -> None:
    (tmp_path / "core_probe.py").write_text(PROBE)
    core = min(usable_core_numbers())
    words = pinned_words([core], [sys.executable, "-m", "core_probe", "a", "b"])
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[core], ["a", "b"], False, "__main__"]


def test_a_command_without_cores_or_module_stays_as_it_is() -> None:
    assert pinned_words([], ["python", "-m", "x"]) == ["python", "-m", "x"]
    assert pinned_words([0], ["python", "file.py"]) == ["python", "file.py"]


def test_threads_of_one_core_are_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.platform.processes.usable_core_numbers", lambda: {0, 1, 2, 3})
    for number, core in enumerate((0, 1, 0, 1)):
        folder = tmp_path / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "physical_package_id").write_text("0\n")
        (folder / "core_id").write_text(f"{core}\n")
    assert cores_in_order(tmp_path) == [0, 2, 1, 3]
