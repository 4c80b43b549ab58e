"""The steps that need a GPU: what each runs, and how long it may take.

Part a shows that everything runs, and how fast training is beside detectron2. Part b has the rest. The steps are in the
order of their worth, since those that no longer fit into a part's time are left out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Part = Literal["a", "b"]
SECONDS: dict[Part, float] = {"a": 525, "b": 200}
"""What the steps of a part may take together."""

MACHINE = """
import platform, shutil, subprocess, sys, timm, torch, torchvision
if shutil.which("nvidia-smi"):
    subprocess.run(["nvidia-smi"])
subprocess.run([sys.executable, "-W", "ignore", "-m", "harness", "doctor"])
print("memory that processes share:", shutil.disk_usage("/dev/shm").free >> 20, "MiB free")
print(platform.python_version(), torch.__version__, torchvision.__version__, timm.__version__)
print(torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device")
"""
"""What the machine is. That the project is not installed there, as `doctor` then says, is no failure."""


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        seconds: its limit.
        run_dir: the folder of its run, where it is one.
    """

    name: str
    part: Part
    seconds: float
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    run_dir: Path | None = None


@dataclass(frozen=True)
class Planner:
    """Makes the steps.

    Attributes:
        out: for figures and logs.
        scratch: for the folders of runs, with weights.
        data: a data source of real images, or None for synthetic ones.
        rehearsal: every step on the CPU at the smallest size.
    """

    out: Path
    scratch: Path
    data: str | None
    rehearsal: bool

    def steps(self) -> list[Step]:
        step, tests = "benchmarks/bench_training_step.py", "tests/methods/frameworks/test_on_gpu.py"
        run, bench = self.run, self.bench
        return [
            Step("a1_machine", "a", 40, (sys.executable, "-c", MACHINE)),
            Step("a2_tests", "a", 90, self._pytest("-vv", tests, "-k", "not every_method")),
            run("a3_one_trial", "a", 40, "mask_rcnn", "smoke"),
            run("a4_numbered_device", "a", 30, "mask_rcnn", "smoke", device="cuda:0"),
            run("a5_deterministic", "a", 30, "mask_rcnn", "smoke", "--deterministic"),
            run("a6_all_methods", "a", 150, "all", "smoke"),
            run("a7_standard", "a", 150, "mask_rcnn", "standard", budget="30s", real=True),
            bench("a8_training_step", "a", 200, f"{step}::test_step", "-k", "full", rounds=12),
            bench("b1_inference", "b", 90, "benchmarks/bench_inference.py", rounds=6, train="200it"),
            bench("b2_copy_paste_step", "b", 60, "benchmarks/bench_copy_paste_step.py", rounds=30, trained="40"),
            bench("b3_throughput", "b", 60, f"{step}::test_throughput", rounds=12),
            run("b4_paper_x101", "b", 60, "mask_rcnn_x101", "paper", "--init", "scratch", budget="40it", real=True),
            bench("b5_memory_of_x101", "b", 60, f"{step}::test_the_largest_network_fits", compiled=False),
            run("b6_standard_others", "b", 90, "copy_paste,pointsup", "standard", budget="15s", real=True),
        ]

    def run(
        self,
        name: str,
        part: Part,
        seconds: float,
        methods: str,
        preset: str,
        *options: str,
        budget: str | None = None,
        real: bool = False,
        device: str = "cuda",
    ) -> Step:
        """A run of the harness. real: on real images where there are any."""
        if self.rehearsal:
            device, preset, budget = "cpu", "smoke", "2it" if budget else None
        words = ["run", "--quiet", "--methods", methods, "--preset", preset, "--device", device, *options]
        words += ["--budget", budget] if budget else []
        words += ["--data", self.data] if self.data and real and not self.rehearsal else []
        run_dir = self.scratch / name
        return Step(name, part, seconds, (*self._harness(*words), "--out", str(run_dir)), run_dir=run_dir)

    def bench(
        self,
        name: str,
        part: Part,
        seconds: float,
        *tests: str,
        rounds: int | None = None,
        train: str | None = None,
        trained: str | None = None,
        compiled: bool = True,
    ) -> Step:
        """A benchmark, which leaves NAME.json. train, trained: as its first lines say."""
        environment = {"BENCH_DEVICE": "cpu" if self.rehearsal else "cuda"}
        if rounds:
            environment["BENCH_ROUNDS"] = "1" if self.rehearsal else str(rounds)
        if train:
            environment["BENCH_TRAIN"] = "2it" if self.rehearsal else train
        if trained:
            environment["BENCH_TRAINED"] = "2" if self.rehearsal else trained
        if self.rehearsal:
            environment["BENCH_REHEARSAL"] = "1"
        if not compiled:
            environment["TORCHDYNAMO_DISABLE"] = "1"
        figures = f"--benchmark-json={self.out / name}.json"
        command = (*self._pytest("-s", "--benchmark-only"), figures, *tests)
        return Step(name, part, seconds, command, environment)

    def _harness(self, *words: str) -> tuple[str, ...]:
        return (sys.executable, "-W", "ignore", "-m", "harness", *words)

    def _pytest(self, *words: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words)
