"""Reads and splits the data of a run, and plans every trial on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from harness.config.preset import Preset
from harness.config.split_spec import SplitSpec
from harness.config.unlabelled_facts import UnlabelledFacts
from harness.data.registry import published_parts
from harness.data.splits import PARTS, Splits
from harness.evaluation.scorer import SCORING_VERSION
from harness.orchestration.plan import Contender, Manifest, PlannedData, make_plan
from harness.orchestration.prepared_data import (
    PreparedData,
    divided,
    prepare_data,
    refuse_leaks,
    refuse_suspicious_labels,
    unlabelled_images,
)
from harness.results.schema import DataFacts


def read_source(
    source: str,
    split: SplitSpec | None,
    preset: Preset,
    skip_bad: bool,
    trust_labels: bool,
    tell: Callable[[str], None],
) -> tuple[PreparedData, SplitSpec]:
    """Read and split the data, and tell what is remarkable about them. Also how they were split.

    Raises:
        HarnessError: the data are bad, look wrong or cannot be split.
    """
    source, own = _published_or(split or SplitSpec(), source)
    data = prepare_data(source, skip_bad, preset, own)
    similar = refuse_leaks(data, own)
    refuse_suspicious_labels(data.dataset, trust_labels)
    for note in (*data.dataset.notes, *data.dataset.doubts, *similar):
        tell(note)
    if data.facts.skipped_bad:
        tell(f"{data.facts.source}: {data.facts.skipped_bad} bad left out")
    return data, own


def plan_trials(
    contenders: Sequence[Contender],
    seeds: Sequence[int],
    sources: Sequence[str],
    *,
    split: SplitSpec | None = None,
    labels: Sequence[str] = (),
    skip_bad: bool = False,
    trust_labels: bool = False,
    command: str = "",
    tell: Callable[[str], None] = lambda note: None,
    fit: Callable[[Preset, PreparedData, DataFacts], Preset | None] = lambda preset, data, facts: None,
    **how: Any,
) -> Manifest:
    """Read the data, and plan every trial.

    Args:
        contenders: methods with preset and budget. The data are split as the preset of the first says.
        seeds: of training.
        sources: data sources, as they are typed.
        split: how they are divided; None for the published split where there is one, else at random.
        labels: numbers of labelled images, as in SplitSpec; every method is planned with each. Empty for `split`'s own.
        skip_bad: leave out bad images and cells.
        trust_labels: train on labels that look wrong.
        command: what was typed.
        tell: called with each remark on the data.
        fit: from a preset, the data and a division of them to the preset that is fitted to it; None for no change.
        how: further fields of TrialSpec, the same for all trials.

    Raises:
        HarnessError: the data are bad, look wrong or cannot be split.
    """
    preset = contenders[0].preset
    read = [read_source(source, split, preset, skip_bad, trust_labels, tell) for source in sources]
    prepared = [data for data, _ in read]
    by_fingerprint = {data.facts.fingerprint: (data, own) for data, own in read}

    reads_unlabelled = any(contender.resolved.reads_unlabelled for contender in contenders)

    def divisions(facts: DataFacts, seed: int) -> list[PlannedData]:
        data, own = by_fingerprint[facts.fingerprint]
        hidden = [own.model_copy(update={"labels": text}) for text in labels] or [own]
        folds = [{"fold": fold, "seed": seed} for fold in range(1, own.folds + 1)] or [{}]
        # measured once for all folds and seeds, whose trials are one row and so have one preset
        whole = _all_trained_on(data) if own.folds else None
        found = []
        for spec in (one.model_copy(update=fold) for one in hidden for fold in folds):
            part = data if spec == own else divided(data.dataset, preset, spec)
            unlabelled = unlabelled_images(part, spec, skip_bad)[1] if reads_unlabelled else None
            measured = whole or part
            fitted_to_it = fit(preset, data, measured.facts)
            found.append(PlannedData(part.facts, spec, fitted_to_it, unlabelled, _diameter_of(measured)))
        return found

    manifest = make_plan(
        contenders,
        seeds,
        [data.facts for data in prepared],
        scoring_version=SCORING_VERSION,
        command=command,
        divisions=divisions,
        skip_bad=skip_bad,
        **how,
    )
    for facts in dict.fromkeys(trial.spec.unlabelled for trial in manifest.trials):
        if facts is not None:
            tell(_unlabelled_text(facts))
    for sentence in dict.fromkeys(s for trial in manifest.trials for s in trial.spec.preset.fit):
        tell(sentence)
    # Records name a source without the folders above it. The worker must find it.
    typed = {data.facts.fingerprint: data.dataset.source for data in prepared}
    specs = [trial.spec.model_copy(update={"source": typed[trial.spec.data_fingerprint]}) for trial in manifest.trials]
    trials = (trial.model_copy(update={"spec": spec}) for trial, spec in zip(manifest.trials, specs, strict=True))
    return manifest.model_copy(update={"trials": tuple(trials)})


def _all_trained_on(fold: PreparedData) -> PreparedData:
    """The data with all images of all folds for training."""
    splits = Splits.of((*fold.splits.train, *fold.splits.validation), (), ())
    facts = fold.facts.model_copy(update={"splits": {name: list(getattr(splits, name)) for name in PARTS}})
    return replace(fold, splits=splits, facts=facts)


def _diameter_of(data: PreparedData) -> Callable[[], float]:
    return lambda: data.cell_diameter


def _unlabelled_text(facts: UnlabelledFacts) -> str:
    hidden = f", {facts.hidden} of them training images whose labels are hidden" if facts.hidden else ""
    near = f"; {facts.left_out} left out, too near to an image that is scored" if facts.left_out else ""
    return f"unlabelled images to learn from: {facts.images}{hidden}{near}"


def _published_or(split: SplitSpec, source: str) -> tuple[str, SplitSpec]:
    """The source to train on and the split: the published one where the user asked for none and there is one."""
    parts = published_parts(source) if split.is_drawn else {}
    if not parts:
        return source, split
    roles = {part: (parts[part],) for part in ("calibration", "validation") if part in parts}
    return parts["train"], split.model_copy(update=roles)
