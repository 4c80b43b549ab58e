"""The plan of a run: every trial (method x seed x data set), written to manifest.json before anything trains."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.config.budget import Budget
from harness.config.fit_to_weights import at_anchors, at_cell_size, at_typed_scale
from harness.config.preset import Preset, check_settings
from harness.config.split_spec import SplitSpec
from harness.config.trial_spec import TrialSpec, recipe_to_json, trial_key
from harness.config.tuning_facts import TuningFacts
from harness.config.unlabelled_facts import UnlabelledFacts
from harness.contract import StartingWeights
from harness.errors import HarnessError
from harness.fileio import make_folder, remove_temporaries, write_text_atomic
from harness.monitoring.machine import utc_now
from harness.orchestration.starting_weights import Start, find_start, recipe_of_key
from harness.platform.files import path_limit, replace
from harness.platform.locks import folder_lock
from harness.redaction import redact_home_in_json
from harness.results.io import TRIALS, read_json
from harness.results.migration import SCHEMA_VERSION, upgrade_manifest
from harness.results.schema import DataFacts
from harness.stacks import Resolved

MANIFEST = "manifest.json"
MANIFEST_LIMIT = 2**30
"""Bytes. A trial takes some 3,000: a plan of 26,000 trials has 70 MB."""
_NAME_LIMIT = 100
_FILE_LENGTH = 50
"""Characters of the longest name of a file in a trial's folder, with that of its temporary file."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PlannedTrial(_Model):
    """One trial. name: of its folder under trials/. spec: the input of its worker. skip_reason: empty where it runs."""

    name: str
    spec: TrialSpec
    skip_reason: str = ""

    def folder(self, run_dir: Path) -> Path:
        return run_dir / TRIALS / self.name


class Manifest(_Model):
    """The plan. data: what is known of each data set, by fingerprint, and of each of its folds (see `data_key`)."""

    schema_version: int = SCHEMA_VERSION
    created: str
    command: str
    scoring_version: str
    data: dict[str, DataFacts]
    trials: tuple[PlannedTrial, ...]

    def facts_of(self, spec: TrialSpec) -> DataFacts:
        """What is known of a trial's data and of their parts."""
        return self.data[data_key(spec.split, spec.data_fingerprint, spec.split_fingerprint)]


def data_key(split: SplitSpec, fingerprint: str, split_fingerprint: str) -> str:
    """The key of a trial's data in Manifest.data: their fingerprint.

    Where there are folds it has that of the split too, and the number of labels where some are hidden.
    """
    labels = f":{split.labels} labelled" if split.labels else ""
    return (f"{fingerprint}:{split_fingerprint}" if split.fold else fingerprint) + labels


@dataclass(frozen=True)
class PlannedData:
    """A data set, or one of its folds, and how it was divided.

    preset: fitted to it; None for the contender's own. unlabelled: for methods that learn from images without labels.
    cell_diameter: finds the median diameter of the training cells, in pixels of the images; 0 where it is not known.
    """

    facts: DataFacts
    split: SplitSpec = field(default_factory=SplitSpec)
    preset: Preset | None = None
    unlabelled: UnlabelledFacts | None = None
    cell_diameter: Callable[[], float] = lambda: 0.0


@dataclass(frozen=True)
class Contender:
    """A method that takes part, with its preset and budget.

    name: of its row; empty for the name of the method. tuned: how the preset was tuned for it, if it was.
    """

    resolved: Resolved
    preset: Preset
    budget: str
    name: str = ""
    tuned: TuningFacts | None = None

    def __post_init__(self) -> None:
        """Raises HarnessError if an engine cannot take the preset's [model] table."""
        check_settings(self.preset, self.resolved)

    def start(self, seed: int) -> Start:
        """Where the weights of that seed's trial start. Raises HarnessError where they are missing or damaged."""
        return find_start(self.resolved.recipe, seed, self.preset.model)

    def skip_reason(self, seed: int) -> str:
        """Why its trial of that seed cannot run; empty where it can."""
        return self.resolved.skip_reason() or self.start(seed).skip_reason


def make_plan(
    contenders: Sequence[Contender],
    seeds: Iterable[int],
    data: Sequence[DataFacts],
    *,
    scoring_version: str,
    command: str,
    divisions: Callable[[DataFacts, int], Sequence[PlannedData]] = lambda facts, seed: (PlannedData(facts),),
    **how: Any,
) -> Manifest:
    """Every contender with every seed on all data; all contenders of a seed come before the next seed.

    The folds of a contender follow each other, so that its row is there as soon as possible.

    Args:
        contenders: the methods, each with its preset and budget.
        seeds: of training.
        data: the data sets.
        scoring_version: of the scoring rules.
        command: what was typed.
        divisions: from a data set and a seed to how it is divided: once, or into folds.
        how: further fields of TrialSpec, the same for all trials: device, deterministic, threshold, skip_bad, ...

    Raises:
        HarnessError: a budget cannot be read.
    """
    trials: dict[str, PlannedTrial] = {}
    known: dict[str, DataFacts] = {}
    # by lower case: names that differ in case alone are one folder on most disks of Windows and macOS
    folders: dict[str, str] = {}
    for seed in seeds:
        divided = [(whole, divisions(whole, seed)) for whole in data]
        for whole, contender, one in ((w, c, one) for w, parts in divided for c in contenders for one in parts):
            spec = make_spec(contender, seed, one, scoring_version, {**how, "command": command})
            known[data_key(one.split, one.facts.fingerprint, one.facts.split_fingerprint)] = one.facts
            name = folder_name(spec.method, seed, whole if len(data) > 1 else None, spec.split)
            same = trials.get(folders.setdefault(name.casefold(), name))
            if same is not None and same.spec.key != spec.key:
                name = f"{name}--{spec.key}"
            trials[name] = PlannedTrial(name=name, spec=spec, skip_reason=contender.skip_reason(seed))
    return Manifest(
        created=utc_now(),
        command=command,
        scoring_version=scoring_version,
        data=known,
        trials=tuple(trials.values()),
    )


def write_manifest(run_dir: Path, manifest: Manifest) -> None:
    """Write the plan into its folder, together with the trials that were planned there before.

    Raises HarnessError where a trial of the same name is other work (another budget, other data, ...): running it
    would overwrite that result, and where paths would be longer than the system takes.
    """
    _check_path_lengths(run_dir, manifest, path_limit())
    make_folder(run_dir)
    with folder_lock(run_dir):
        remove_temporaries(run_dir)
        try:
            before = read_manifest(run_dir)
        except HarnessError:
            before = None
            path = run_dir / MANIFEST
            if path.is_file():
                # A damaged plan is set aside: the records do not need it.
                replace(path, path.with_name("manifest.damaged.json"))
        merged = manifest if before is None else _merge(before, manifest, run_dir)
        write_text_atomic(run_dir / MANIFEST, redact_home_in_json(merged.model_dump_json(indent=1)) + "\n")


def _check_path_lengths(run_dir: Path, manifest: Manifest, limit: int | None) -> None:
    """Raise HarnessError where a file of a trial would have a path of more characters than `limit`."""
    longest = max((len(str(trial.folder(run_dir).absolute())) for trial in manifest.trials), default=0) + _FILE_LENGTH
    if limit is not None and longest > limit:
        raise HarnessError(
            f"{run_dir}: its files would have paths of {longest} characters, and this system takes {limit}; "
            "give a shorter folder with --out (docs/installation.md says how to lift the limit)"
        )


def read_manifest(run_dir: Path) -> Manifest:
    """The plan in a run's folder. Raises HarnessError where there is none or it is damaged."""
    path = run_dir / MANIFEST
    plain = read_json(path, MANIFEST_LIMIT)
    try:
        manifest = Manifest.model_validate(upgrade_manifest(plain) if isinstance(plain, dict) else plain)
    except ValidationError as error:
        first = error.errors()[0]
        raise HarnessError(f"{path}: {'.'.join(str(step) for step in first['loc'])}: {first['msg']}") from error
    for trial in manifest.trials:
        if trial.name != safe_name(trial.name):
            raise HarnessError(f"{path}: {trial.name!r} is not the name of a trial's folder")
    return manifest


def make_spec(
    contender: Contender, seed: int, data: PlannedData, scoring_version: str, how: dict[str, Any]
) -> TrialSpec:
    """The specification of one trial, with its resume key. how: further fields of TrialSpec."""
    facts, split, start = data.facts, data.split, contender.start(seed)
    recipe = contender.resolved.recipe.with_parts(init=start.part)
    spec = TrialSpec(
        key="",
        method=contender.name or contender.resolved.name,
        seed=seed,
        source=facts.source,
        data_fingerprint=facts.fingerprint,
        split_fingerprint=facts.split_fingerprint,
        split=split,
        budget=contender.budget,
        preset=_as_start_asks(data.preset or contender.preset, start.found, data),
        recipe=recipe_to_json(recipe),
        slots_changed=list(contender.resolved.slots_changed),
        labels=contender.resolved.labels,
        label_seconds=contender.resolved.label_seconds,
        baseline=contender.resolved.baseline,
        tuned=contender.tuned,
        start=start.facts,
        unlabelled=data.unlabelled if contender.resolved.reads_unlabelled else None,
        **how,
    )
    work = {
        "method": spec.method,
        "recipe": recipe_of_key(recipe, spec.recipe),
        "data": spec.data_fingerprint,
        # "10m" and "600s" are the same work.
        "budget": asdict(Budget.parse(spec.budget)),
        "settings": _settings_of_key(spec),
        "seed": spec.seed,
        "scoring": scoring_version,
    }
    # only where there are any: methods that learn from labelled images alone keep their keys
    sources = {"unlabelled": split.unlabelled} if spec.unlabelled else {}
    images = {"unlabelled": spec.unlabelled.fingerprint} if spec.unlabelled else {}
    folds_key = trial_key(**work, **sources, folds=split.folds, group_by=split.group_by) if split.folds else ""
    key = trial_key(**work, **images, split=spec.split_fingerprint)
    return spec.model_copy(update={"key": key, "folds_key": folds_key})


def _as_start_asks(preset: Preset, found: StartingWeights | None, data: PlannedData) -> Preset:
    """The preset with the anchors and the scale that the initial weights ask for."""
    if found is None:
        return preset
    preset = at_anchors(preset, found.anchors)
    if found.scale is None:
        return preset
    if found.scale != "match":
        return at_typed_scale(preset, found.scale)
    if not found.cell_diameter:
        return preset
    diameter = data.cell_diameter()
    return at_cell_size(preset, found.cell_diameter, diameter) if diameter else preset


def _settings_of_key(spec: TrialSpec) -> dict[str, Any]:
    """Settings that change scores or costs; not how a batch is split to fit the memory, nor which GPU it is."""
    facts = spec.settings()
    del facts["micro_batches"]
    return {**facts, "device": spec.device.partition(":")[0]}


def _merge(before: Manifest, new: Manifest, run_dir: Path) -> Manifest:
    known = {trial.name: trial for trial in before.trials}
    for trial in new.trials:
        old = known.get(trial.name)
        if old is not None and old.spec.key != trial.spec.key:
            raise HarnessError(
                f"{run_dir} holds {trial.name} with {_difference(old.spec, trial.spec)}; give another folder with --out"
            )
    trials = {**known, **{trial.name: trial for trial in new.trials}}
    return new.model_copy(update={"data": {**before.data, **new.data}, "trials": tuple(trials.values())})


def _difference(old: TrialSpec, new: TrialSpec) -> str:
    if old.budget != new.budget:
        return f"the budget {old.budget}, and now it is {new.budget}"
    if old.data_fingerprint != new.data_fingerprint or old.split_fingerprint != new.split_fingerprint:
        return "other data, or another split of the data"
    if old.recipe != new.recipe:
        slots = [slot for slot in new.recipe if old.recipe.get(slot) != new.recipe[slot]]
        return f"another recipe ({', '.join(slots)})"
    if old.unlabelled != new.unlabelled:
        return "other unlabelled images"
    a, b = _settings_of_key(old), _settings_of_key(new)
    names = [name for name in b if a.get(name) != b[name]]
    return f"other settings ({', '.join(names)})" if names else "another version of the scoring rules"


def folder_name(method: str, seed: int, facts: DataFacts | None = None, split: SplitSpec | None = None) -> str:
    """The name of a trial's folder.

    facts: of the data, where the run has several data sets. split: says the fold, and how many images have labels.
    """
    data = "" if facts is None else f"--{facts.source.partition(':')[0]}-{facts.fingerprint[:8]}"
    fold = f"--fold{split.fold}of{split.folds}" if split and split.fold else ""
    labels = f"--labels{split.labels.replace('%', 'percent')}" if split and split.labels else ""
    end = safe_name(f"--seed{seed}{data}{labels}{fold}")
    return safe_name(method)[: _NAME_LIMIT - len(end)] + end


def safe_name(name: str) -> str:
    """The name without characters that mean something in a path or to a shell."""
    return re.sub(r"[^A-Za-z0-9_.+-]", "-", name).lstrip(".") or "-"
