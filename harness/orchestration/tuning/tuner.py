"""Searches settings for each method: the same number of trials from the same space, scored on calibration images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.config.preset import Preset
from harness.config.preset_file import preset_text
from harness.config.space import SearchSpace, with_values
from harness.config.split_spec import SplitSpec
from harness.config.trial_spec import TrialSpec
from harness.config.unlabelled_facts import UnlabelledFacts
from harness.errors import HarnessError
from harness.evaluation.scorer import SCORING_VERSION
from harness.fileio import make_folder, write_text_atomic
from harness.monitoring.machine import utc_now
from harness.monitoring.progress import Progress
from harness.orchestration.early_stopping import FRACTIONS
from harness.orchestration.plan import Contender, Manifest, PlannedData, PlannedTrial, make_spec, safe_name
from harness.orchestration.prepared_data import PreparedData, unlabelled_images
from harness.orchestration.scheduler import INTERRUPTED, Reporter, RunOptions, run_plan
from harness.orchestration.tuning.record import TriedTrial, TunedMethod, TuningRecord, read_tuning, write_tuning
from harness.orchestration.tuning.sampler import Sampler, suggest
from harness.platform.files import remove
from harness.results.io import RECORD, WEIGHTS, read_record
from harness.results.schema import RunRecord

PRESETS = "presets"
"""Folder of the tuned presets."""


@dataclass(frozen=True)
class Search:
    """What is searched and how, the same for every method.

    Attributes:
        preset: where every method starts; its own setting is the first trial.
        budget: training of each trial.
        trials: of each method.
        early_stopping: by successive halving.
        seed: of the search; trial k trains with this seed plus k.
        command: what was typed.
        how: further fields of TrialSpec: device, precision, deterministic, skip_bad, threshold.
    """

    preset: Preset
    budget: str
    space: SearchSpace
    trials: int
    sampler: Sampler
    early_stopping: bool
    seed: int
    command: str
    how: dict[str, Any]


@dataclass
class Tuner:
    """Works through a search. A search that is there already is continued: records that are done are kept.

    Attributes:
        contenders: the methods, with the preset of the search.
        data: trained on and scored; the validation images are left alone.
        split: how they are divided; without folds.
        folder: of the search.
        options: how trials are run.
        reporter: told what happens.
        on_trial: called with the record of the search after each trial.
    """

    contenders: Sequence[Contender]
    search: Search
    data: PreparedData
    split: SplitSpec
    folder: Path
    options: RunOptions
    reporter: Reporter
    on_trial: Callable[[TuningRecord], None] = lambda record: None
    created: str = field(default_factory=utc_now)

    def run(self) -> TuningRecord | None:
        """Run every trial. Each method gets its trial k before any gets k + 1, so that a stop leaves them equal.

        Returns:
            The record, which is written after each trial; None where asked to stop.

        Raises:
            HarnessError: the folder holds another search, or the disk takes no files.
        """
        self._check_folder()
        tried: dict[str, list[TriedTrial]] = {contender.resolved.name: [] for contender in self.contenders}
        total = self.search.trials * len(self.contenders)
        for number in range(self.search.trials):
            for at, contender in enumerate(self.contenders):
                earlier = tried[contender.resolved.name]
                values = self._values(number, earlier)
                planned = self._planned(contender, number, values, earlier)
                reporter = _Numbered(self.reporter, number * len(self.contenders) + at + 1, total)
                if run_plan(self._manifest(planned), self.folder, self.options, reporter, _no_tables) == INTERRUPTED:
                    return None
                trial = planned.folder(self.folder)
                # nobody predicts with a trial of a search, and there are many
                remove(trial / WEIGHTS)
                earlier.append(TriedTrial.of(number, values, read_record(trial / RECORD)))
                record = self._record(tried)
                write_tuning(self.folder, record)
                self.on_trial(record)
        for contender in self.contenders:
            self._write_preset(record, contender.resolved.name)
        return record

    @cached_property
    def _unlabelled(self) -> UnlabelledFacts | None:
        if not any(contender.resolved.reads_unlabelled for contender in self.contenders):
            return None
        return unlabelled_images(self.data, self.split, bool(self.search.how.get("skip_bad")))[1]

    def _check_folder(self) -> None:
        """Raises HarnessError where the folder holds a search of something else. More trials may be added to one."""
        try:
            before = read_tuning(self.folder)
        except HarnessError:
            return
        self.created = before.created
        now = self._record({})
        same = ("preset", "budget", "sampler", "early_stopping", "seed", "space", "data_fingerprint")
        other = [name for name in same if getattr(before, name) != getattr(now, name)]
        if other:
            raise HarnessError(f"{self.folder} holds a search with another {other[0]}; give another folder with --out")

    def _values(self, number: int, earlier: Sequence[TriedTrial]) -> dict[str, Any]:
        search = self.search
        if number == 0:
            return search.space.own_values(search.preset)
        return suggest(search.space, search.sampler, search.seed, number, earlier)

    def _planned(
        self, contender: Contender, number: int, values: dict[str, Any], earlier: Sequence[TriedTrial]
    ) -> PlannedTrial:
        search = self.search
        looks = FRACTIONS if search.early_stopping else ()
        evaluation = search.preset.evaluation.model_copy(update={"curve_fractions": looks})
        preset = with_values(search.preset, values).model_copy(update={"evaluation": evaluation})
        spec: TrialSpec = make_spec(
            replace(contender, preset=preset, budget=search.budget),
            search.seed + number,
            PlannedData(
                self.data.facts,
                self.split,
                unlabelled=self._unlabelled,
                cell_diameter=lambda: self.data.cell_diameter,
            ),
            SCORING_VERSION,
            {
                **search.how,
                "command": search.command,
                "score_on": "calibration",
                "earlier_looks": tuple(trial.looks for trial in earlier) if search.early_stopping else None,
            },
        )
        name = f"{safe_name(spec.method)[:80]}--trial{number:02d}"
        spec = spec.model_copy(update={"source": self.data.dataset.source})
        return PlannedTrial(name=name, spec=spec, skip_reason=contender.skip_reason(search.seed + number))

    def _manifest(self, planned: PlannedTrial) -> Manifest:
        return Manifest(
            created=self.created,
            command=self.search.command,
            scoring_version=SCORING_VERSION,
            data={self.data.facts.fingerprint: self.data.facts},
            trials=(planned,),
        )

    def _record(self, tried: dict[str, list[TriedTrial]]) -> TuningRecord:
        search, facts = self.search, self.data.facts
        methods = tuple(
            TunedMethod(method=name, preset_file=f"{PRESETS}/{safe_name(name)}.toml", trials=tuple(trials))
            for name, trials in tried.items()
        )
        return TuningRecord(
            command=search.command,
            created=self.created,
            finished=utc_now(),
            preset=search.preset,
            budget=search.budget,
            trials=search.trials,
            sampler=search.sampler,
            early_stopping=search.early_stopping,
            seed=search.seed,
            space=search.space,
            source=facts.source,
            data_fingerprint=facts.fingerprint,
            split_fingerprint=facts.split_fingerprint,
            calibration_images=len(facts.splits["calibration"]),
            methods=methods,
        )

    def _write_preset(self, record: TuningRecord, name: str) -> None:
        """The tuned preset of a method, or the common one where no trial ended well."""
        method = next(one for one in record.methods if one.method == name)
        preset, facts = record.preset_of(name)
        said, chosen = "no trial ended well, the preset as it was", method.chosen
        if facts is not None and chosen is not None:
            said = f"trial {chosen.number + 1} of {facts.trials}, IoU {chosen.iou:.4f} on calibration images"
        path = self.folder / method.preset_file
        make_folder(path.parent)
        write_text_atomic(path, preset_text(preset, f"Tuned for {name} from the preset {record.preset.name}: {said}."))


@dataclass(frozen=True)
class _Numbered:
    """A reporter that counts the trials of the whole search."""

    inner: Reporter
    index: int
    total: int

    def started(self, trial: PlannedTrial, index: int, total: int) -> None:
        self.inner.started(trial, self.index, self.total)

    def progress(self, trial: PlannedTrial, progress: Progress) -> None:
        self.inner.progress(trial, progress)

    def ended(self, trial: PlannedTrial, record: RunRecord) -> None:
        self.inner.ended(trial, record)

    def kept(self, trial: PlannedTrial, record: RunRecord) -> None:
        self.inner.kept(trial, record)

    def folds_scored(self, record: RunRecord) -> None:
        self.inner.folds_scored(record)

    def waiting(self, trial: PlannedTrial) -> None:
        self.inner.waiting(trial)

    def stopping(self, times: int) -> None:
        self.inner.stopping(times)


def _no_tables(folder: Path) -> None:
    """Trials of a search are ranked by `tuning.md`, not by a leaderboard."""
