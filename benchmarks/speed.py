"""Runs the benchmarks one after the other and writes results/speed.md: us beside each peer, and each target.

python benchmarks/speed.py                               all of them, each in a process of its own
python benchmarks/speed.py reader scoring                bench_reader.py and bench_scoring.py alone
python benchmarks/speed.py --json build/speed            keeps the JSON files there, and uses those already there

BENCH_ROUNDS and the other variables that a benchmark reads (its first lines tell which) are said in the command.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speed_rows import met, number

from harness.fileio import make_folder, write_text_atomic
from harness.reporting.escape import for_markdown

HERE = Path(__file__).parent
DECISIVE = ("torch", "detectron2", "numpy", "opencv", "pycocotools", "segpaste", "cellpose", "stardist")
"""Parts of the names of packages whose version affects the figures."""


def main() -> int:
    known = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; all where none is given")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="keep each benchmark's figures there; use old ones")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "speed.md")
    options = parser.parse_args()
    for name in options.names:
        if name not in known:
            parser.error(f"no benchmark {name!r}; there are: {', '.join(known)}")
    names = options.names or known
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.json or Path(temporary)
        make_folder(folder)
        for name in names:
            if not (folder / f"{name}.json").is_file():
                measure(name, folder / f"{name}.json")
        found = {name: read(folder / f"{name}.json") for name in names}
    changed = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("BENCH_")]
    command = " ".join([*changed, "python benchmarks/speed.py", *options.names])
    make_folder(options.out.parent)
    write_text_atomic(options.out, page(command, found))
    print(f"wrote {options.out}")
    return 0 if all(found.values()) else 1


def measure(name: str, to: Path) -> None:
    """Run one benchmark in a process of its own; its figures are there only if it ended well."""
    print(f"--- {name}", flush=True)
    unfinished = to.with_suffix(".unfinished")
    tests = ["-m", "pytest", f"benchmarks/bench_{name}.py", "-q", "-s"]
    how = ["--benchmark-only", f"--benchmark-json={unfinished.resolve()}"]
    done = subprocess.run([sys.executable, *tests, *how], cwd=HERE.parent, check=False)
    if done.returncode == 0 and unfinished.is_file() and unfinished.stat().st_size:
        unfinished.replace(to)


def read(path: Path) -> dict[str, Any] | None:
    """What a benchmark left, or None where it failed."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def page(command: str, found: Mapping[str, dict[str, Any] | None]) -> str:
    """The table as Markdown, with what made it. found: by name of a benchmark, pytest-benchmark's JSON."""
    good = {name: plain for name, plain in found.items() if plain is not None}
    lines = ["# Speed", "", f"Made by `{command}`.", *_made_on(good), "", *_legend(), ""]
    lines += ["| work | ours | peer | unit | ratio | target | met |", "|---|---:|---:|---|---:|---:|---|"]
    notes: list[str] = []
    for name, plain in found.items():
        rows = [one for bench in (plain or {}).get("benchmarks", []) for one in bench["extra_info"].get("rows", [])]
        lines += [_line(one, notes) for one in rows]
        if not rows:
            lines.append(f"| {name}: no figures; it failed, or what it measures is not here | | | | | | |")
    return "\n".join([*lines, "", *(f"({i}) {for_markdown(note)}  " for i, note in enumerate(notes, 1)), ""])


def _legend() -> list[str]:
    return [
        "A ratio above 1 means that ours is better; its target is the least allowed. Where there is no peer, the",
        "target is the greatest figure allowed. Both sides do the same work on the same data in one run.",
    ]


def _made_on(good: Mapping[str, dict[str, Any]]) -> list[str]:
    """Machine, date, commit and versions; several lines where the figures were not all made alike."""
    made: dict[str, list[str]] = {}
    for name, plain in good.items():
        made.setdefault(_conditions(plain), []).append(name)
    if len(made) == 1:
        return list(made)
    return [f"{', '.join(names)}: {conditions}  " for conditions, names in made.items()]


def _conditions(plain: Mapping[str, Any]) -> str:
    machine = plain["machine_info"]
    gpus = ", ".join(gpu["name"] for gpu in machine["gpus"]) or "no GPU"
    decisive = {n: v for n, v in machine["versions"].items() if any(word in n.lower() for word in DECISIVE)}
    versions = [machine["python"], *(f"{name} {version}" for name, version in decisive.items())]
    return (
        f"Machine: {machine['cpu']}, {machine['cores_usable']} cores, {machine['memory'] / 2**30:.0f} GiB, {gpus}, "
        f"{machine['system']}. Date: {plain['datetime'][:10]}, commit {machine['commit'] or 'unknown'}. "
        f"Versions: {', '.join(versions)}."
    )


def _line(one: Mapping[str, Any], notes: list[str]) -> str:
    if one["note"] and one["note"] not in notes:
        notes.append(one["note"])
    mark = f" ({notes.index(one['note']) + 1})" if one["note"] else ""
    ratio, target = one["ratio"], one["target"]
    sign = "≤" if ratio is None else "≥"
    cells = (
        for_markdown(one["work"]) + mark,
        number(one["ours"]),
        "" if one["peer"] is None else number(one["peer"]),
        for_markdown(one["unit"]),
        "" if ratio is None else f"{number(ratio)}×",
        "" if target is None else f"{sign} {number(target)}{'' if ratio is None else '×'}",
        {None: "", True: "yes", False: "**no**"}[met(dict(one))],
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
