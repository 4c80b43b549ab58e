"""Facts of records in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from harness.config.split_spec import SplitSpec
from harness.config.start_facts import StartFacts
from harness.monitoring.placement import SHARING
from harness.redaction import is_absolute, public_path
from harness.results.schema import RunRecord


def machine_name(record: RunRecord) -> str:
    """The kind of machine: the GPU it computed on, or the CPU and its cores."""
    facts = record.machine
    if str(record.settings.get("device", "")).startswith("cuda") and facts.get("gpus"):
        names = Counter(str(gpu.get("name", "GPU")) for gpu in facts["gpus"])
        return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in names.items())
    cores = facts.get("cores_usable")
    return str(facts.get("cpu", "unknown machine")) + (f", {cores} cores" if cores else "")


def conditions_name(record: RunRecord) -> str:
    """The kind of machine, and how many trials it ran side by side where it was shared."""
    sharing = record.machine.get(SHARING)
    if not isinstance(sharing, dict):
        return machine_name(record)
    trials = sharing.get("trials")
    return f"{machine_name(record)}, {f'{trials} trials side by side' if trials else 'shared with other jobs'}"


def aspect_text(record: RunRecord, aspect: str) -> str:
    """What a record has for an aspect of harness.results.comparability, for a reader."""
    if aspect == "budget":
        return record.budget
    if aspect == "data":
        return f"{record.data.source} ({record.data.fingerprint[:8]})" if record.data else "unknown"
    if aspect == "split":
        return record.data.split_fingerprint[:8] if record.data else "unknown"
    if aspect == "scoring version":
        return record.scores.scoring_version if record.scores else "unknown"
    if aspect == "rule":
        return record.rule.chosen_on if record.rule else "unknown"
    if aspect == "scored images":
        return str(record.settings.get("score_on"))
    inside = record.settings.get(aspect)
    return ", ".join(f"{k} {v}" for k, v in inside.items()) if isinstance(inside, dict) else str(inside)


def split_text(split: SplitSpec) -> str:
    """How the images were divided, in words."""
    said = []
    if split.file:
        said.append(f"by the file {split.file}")
    for part, sources in (("calibration", split.calibration), ("validation", split.validation)):
        said += [f"{part}: {', '.join(sources)}"] if sources else []
    if split.hold_out:
        said.append(f"held out: {split.hold_out}")
    if split.folds:
        said.append(f"{split.folds} folds")
    if split.group_by:
        said.append(f"grouped by {split.group_by}")
    said = said or ["at random, by cell type and group"]
    if split.labels:
        said.append(f"labels of {split.labels} training images used")
    if split.unlabelled:
        said.append(f"unlabelled: {', '.join(split.unlabelled)}")
    return "; ".join(said)


def time_unit(seconds: Iterable[float | None]) -> tuple[str, float]:
    """The unit that such times are read in best, and its seconds."""
    longest = max((s for s in seconds if s is not None), default=0.0)
    return ("seconds", 1.0) if longest < 300 else ("minutes", 60.0) if longest < 3 * 3600 else ("hours", 3600.0)


def shown(value: object) -> object:
    """An option without private folders."""
    return public_path(value) if isinstance(value, str) and is_absolute(value) else value


def start_text(start: StartFacts) -> str:
    """Which weights a trial started from, in short."""
    said = start.source or start.file or start.kind
    return f"{start.name} ({said}{'' if start.seed is not None or not start.sha256 else f', {start.sha256[:8]}'})"


def start_note(start: StartFacts) -> str:
    """What a reader must know of the weights that a row started from."""
    unknown = "; the time that their training took is not known" if start.train_seconds is None else ""
    licence = f", licence {start.licence}" if start.licence else ""
    return f"starts from weights of {start.source or start.file or start.kind}{licence}{unknown}"
