"""Makes results/gpu/ and results/speed-gpu.md from the output of run_steps.py, also of an incomplete run.

    python benchmarks/gpu/collect.py FOLDER

FOLDER is the $OUT of measure.sh. A rehearsal's figures mean nothing: of one, nothing is written into results/ unless
--results names another folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from speed import page, read  # noqa: E402
from speed_rows import row  # noqa: E402

from harness.fileio import make_folder, write_text_atomic  # noqa: E402
from harness.reporting.escape import for_markdown  # noqa: E402
from harness.reporting.leaderboard import write_leaderboards  # noqa: E402
from harness.results.io import read_records, record_paths  # noqa: E402
from harness.results.schema import RunRecord  # noqa: E402

MOST_WAIT = 2.0
"""Per cent of the training time that may be spent waiting for batches."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the $OUT of measure.sh")
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    options = parser.parse_args()
    if not (options.folder / "steps.json").is_file():
        parser.error(f"{options.folder} holds no steps.json; run bash benchmarks/gpu/measure.sh first")
    plain = json.loads((options.folder / "steps.json").read_text(encoding="utf-8"))
    if plain["rehearsal"] and options.results.resolve() == (ROOT / "results").resolve():
        parser.error("these are figures of a rehearsal, which mean nothing; name another folder with --results")
    records = collect_runs(options.folder / "runs", options.results / "gpu")
    found = figures(options.folder, plain["steps"])
    made_of = machine_info(found)
    if made_of and (rows := rows_of_records(records)):
        found["runs"] = {**made_of, "benchmarks": [{"extra_info": {"rows": rows}}]}
    text = page("bash benchmarks/gpu/measure.sh", found).replace("# Speed", "# Speed on a GPU", 1)
    make_folder(options.results)
    write_text_atomic(options.results / "speed-gpu.md", text + steps_table(plain))
    count = f"{sum(map(len, records.values()))} records of {len(records)} runs"
    print(f"wrote {options.results / 'speed-gpu.md'} and {options.results / 'gpu'}: {count}")
    return 0


def collect_runs(source: Path, target: Path) -> dict[str, list[RunRecord]]:
    """Copy each run's plan and records, and write its leaderboard; its good records by name of the step."""
    found: dict[str, list[RunRecord]] = {}
    for run in sorted(source.iterdir()) if source.is_dir() else ():
        records, _ = read_records(run)
        if not records:
            continue
        for file in (*run.glob("manifest.json"), *record_paths(run)):
            there = target / run.name / file.relative_to(run)
            make_folder(there.parent)
            shutil.copyfile(file, there)
        write_leaderboards(target / run.name)
        found[run.name] = [record for record in records if record.status == "ok"]
    return found


def figures(folder: Path, steps: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any] | None]:
    """By name of each benchmark among the steps, what it left; None where it failed."""
    found: dict[str, dict[str, Any] | None] = {}
    for step in steps:
        file = folder / f"{step['name']}.json"
        if file.is_file() and file.stat().st_size:
            found[step["name"]] = read(file)
        elif file.is_file():
            found[step["name"]] = None
    return found


def machine_info(found: Mapping[str, dict[str, Any] | None]) -> dict[str, Any]:
    """Of the first benchmark that has figures: the runs were made on the same machine."""
    for plain in found.values():
        if plain is not None:
            return {name: plain[name] for name in ("machine_info", "datetime")}
    return {}


def rows_of_records(records: Mapping[str, Sequence[RunRecord]]) -> list[dict[str, Any]]:
    """What the runs of the preset `standard` and of the paper's row cost, and their IoU."""
    rows = []
    for record in (record for of_run in records.values() for record in of_run if record.preset != "smoke"):
        cost, work = record.cost, f"{record.method}, {record.preset} preset, {record.budget}"
        if cost.data_wait_seconds is not None and cost.train_seconds:
            wait = 100 * cost.data_wait_seconds / cost.train_seconds
            rows.append(row(f"{work}: waiting for batches", wait, "%", MOST_WAIT))
        if cost.seconds_per_iteration is not None:
            note = f"{cost.images_per_second:.0f} images/s" if cost.images_per_second else ""
            rows.append(row(f"{work}: a step", cost.seconds_per_iteration, "s", note=note))
        if cost.inference_ms_per_image is not None:
            rows.append(row(f"{work}: prediction of an image", cost.inference_ms_per_image, "ms"))
        if cost.peak_gpu_reserved is not None:
            rows.append(row(f"{work}: memory that torch reserved", cost.peak_gpu_reserved / 2**30, "GiB"))
        if record.scores is not None:
            rows.append(row(f"{work}: IoU", float(record.scores.iou_map), ""))
    return rows


def steps_table(plain: Mapping[str, Any]) -> str:
    """What ran and how it ended, so that a reader knows what a missing figure means."""
    title = "Steps of a rehearsal on a CPU: the figures mean nothing" if plain["rehearsal"] else "Steps"
    lines = [
        "",
        f"## {title}",
        "",
        "| step | ended | s | limit | last line where it failed |",
        "|---|---|---:|---:|---|",
    ]
    for step in plain["steps"]:
        last = "" if step["status"] == "ok" else next((x for x in reversed(step["last_lines"]) if x.strip()), "")
        words = (step["name"], step["status"], f"{step['seconds']:.0f}", f"{step['limit']:.0f}", for_markdown(last))
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
