"""Runs the steps of plan.py, each in a process of its own with a limit. measure.sh is the command for it.

A step that crashes or takes too long leaves the others. After each step, $OUT holds its log, its figures, what its run
recorded, and `steps.json`, so that a run that is cut off is of use as far as it came.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from plan import SECONDS, Planner, Step

ROOT = Path(__file__).parents[2]
LEAST_SECONDS = 15.0
"""A step is left out where fewer are left."""
REHEARSAL_SECONDS = 1800.0
"""Limit of a step in a rehearsal."""
TAIL_LINES, TAIL_COLUMNS = 12, 300
LEFT_BEHIND = shutil.ignore_patterns("*.safetensors", "*.ckpt", "predictions.json.gz", "events.*", ".lock", "*.token")
"""Files of a run that are large or of no use elsewhere."""


@dataclass(frozen=True)
class Outcome:
    """How a step ended. status: "ok", "failed", "too slow" or "left out"; exit_status: None where it did not end."""

    name: str
    status: str
    exit_status: int | None
    seconds: float
    limit: float
    last_lines: list[str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="a|b", help="parts [default: both]")
    parser.add_argument("--rehearse", action="store_true", help="every step on the CPU, at the smallest size")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", ROOT / "results" / "runs" / "gpu")))
    parser.add_argument("--only", metavar="TEXT", default="", help="only steps with this in their names")
    parser.add_argument("--list", action="store_true", help="print the commands and run none")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(SECONDS):
        parser.error(f"no part {sorted(unknown)[0]!r}; there are: {', '.join(SECONDS)}")
    out = options.out.resolve()
    planner = Planner(out, out.with_name(f"{out.name}-scratch"), real_images(), options.rehearse)
    chosen = [step for step in planner.steps() if step.part in (options.parts or SECONDS)]
    steps = [step for step in chosen if options.only in step.name]
    if options.list:
        print(*(f"{step.name} ({step.seconds:.0f} s): {' '.join(step.command)}" for step in steps), sep="\n")
        return 0
    out.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = earlier(out)
    for part, seconds in SECONDS.items():
        of_part = [step for step in steps if step.part == part]
        run_part(of_part, out, None if options.rehearse else seconds, outcomes, options.rehearse)
    return 0 if all(outcome.status in ("ok", "left out") for outcome in outcomes) else 1


def real_images() -> str | None:
    """The source of the real images that prepare.sh gathered, or that HARNESS_DATA names."""
    for folder in (ROOT / ".gpu" / "data", Path(os.environ.get("HARNESS_DATA", ROOT.parent / "shared" / "data"))):
        if (folder / "sartorius" / "train.csv").is_file():
            return f"sartorius:{folder / 'sartorius'}"
    return None


def earlier(out: Path) -> list[Outcome]:
    """Outcomes of an earlier call for the other part."""
    file = out / "steps.json"
    return [Outcome(**plain) for plain in json.loads(file.read_text())["steps"]] if file.is_file() else []


def run_part(steps: Sequence[Step], out: Path, seconds: float | None, outcomes: list[Outcome], rehearsal: bool) -> None:
    """Run the steps one after the other in so many seconds; None for no limit but their own."""
    end = time.monotonic() + (seconds or float("inf"))
    for step in steps:
        outcome = run_step(step, out, min(step.seconds if seconds else REHEARSAL_SECONDS, end - time.monotonic()))
        outcomes[:] = [*(o for o in outcomes if o.name != step.name), outcome]
        print(f"=== {step.name}: {outcome.status}, {outcome.seconds:.0f} s of {outcome.limit:.0f} s", flush=True)
        print(*(f"    {line}" for line in outcome.last_lines), sep="\n", flush=True)
        plain = {"rehearsal": rehearsal, "steps": [asdict(o) for o in outcomes]}
        (out / "steps.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def run_step(step: Step, out: Path, limit: float) -> Outcome:
    if limit < LEAST_SECONDS:
        return Outcome(step.name, "left out", None, 0.0, max(limit, 0.0), ["no time was left for it"])
    log, begin = out / f"{step.name}.log", time.monotonic()
    if step.run_dir is not None:
        shutil.rmtree(step.run_dir, ignore_errors=True)
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            step.command, cwd=ROOT, env=environment(step, out), stdout=file, stderr=file, start_new_session=True
        )
        try:
            exit_status: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            exit_status = None
            end_group(process)
    if step.run_dir is not None and step.run_dir.is_dir():
        shutil.copytree(step.run_dir, out / "runs" / step.name, ignore=LEFT_BEHIND, dirs_exist_ok=True)
    status = "too slow" if exit_status is None else "failed" if exit_status else "ok"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    tail = [line[:TAIL_COLUMNS] for line in lines[-TAIL_LINES:]]
    return Outcome(step.name, status, exit_status, time.monotonic() - begin, limit, tail)


def environment(step: Step, out: Path) -> Mapping[str, str]:
    """One cache for all steps, of data and of compiled code, so that a later step does not compile again."""
    scratch = out.with_name(f"{out.name}-scratch")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    data = real_images()
    return {
        **os.environ,
        "PYTHONPATH": path,
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "HARNESS_CACHE": str(scratch / "cache"),
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"),
        **({"HARNESS_DATA": str(Path(data.partition(":")[2]).parent)} if data else {}),
        **step.environment,
    }


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a step that took too long, with what it started. It has ten seconds to write what it has."""
    for number, seconds in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 60.0)):
        try:
            os.killpg(process.pid, number)
            process.wait(seconds)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
