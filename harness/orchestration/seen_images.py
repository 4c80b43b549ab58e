"""Which images of test data a trained model has learned from."""

from __future__ import annotations

from harness.config.trial_spec import TrialSpec
from harness.data.dataset import Dataset
from harness.data.doubts.same_pictures import picture_of
from harness.errors import HarnessError
from harness.orchestration.prepared_data import load_data
from harness.results.schema import RunRecord


def trained_on(record: RunRecord, spec: TrialSpec, dataset: Dataset) -> tuple[set[str], list[str]]:
    """Ids of images whose pixels are those of training or calibration images; notes where that cannot be checked.

    Args:
        record: of the trial that trained the model, or of several that are averaged.
        spec: of the trial; says where its data are.
        dataset: what is to be tested on.
    """
    facts = record.data
    assert facts is not None
    try:
        own = load_data(spec.source, spec.skip_bad, spec.split)
        seen = {
            picture_of(own.sample(image_id).image).exact
            for part in ("train", "calibration")
            for image_id in facts.splits[part]
        }
    except HarnessError:
        unknown = f"{facts.source} is not here: whether images were trained on is not checked"
        return set(), [unknown, *_notes_on_start(record, dataset)]
    seen.discard(b"")
    same = {image_id for image_id in dataset.ids if picture_of(dataset.sample(image_id).image).exact in seen}
    notes = [f"images that the model was trained or calibrated on, left out: {len(same)}"] if same else []
    return same, [*notes, *_notes_on_start(record, dataset)]


def _notes_on_start(record: RunRecord, dataset: Dataset) -> list[str]:
    """What is to be known of the images that the weights were trained on which the model started from."""
    start = record.start
    if start is None or not start.data_fingerprint:
        return []
    source = start.source
    if start.data_fingerprint == dataset.fingerprint:
        return [f"scores are too high: the weights it started from were trained on images of these data ({source})"]
    return [f"the weights it started from were trained on {source}; whether on any of these images is not checked"]
