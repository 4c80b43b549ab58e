"""TensorBoard's event files of one trial: losses, learning rate, images a second, and sample predictions."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from harness.contract import Predictions
from harness.errors import HarnessError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from harness.data.dataset import Dataset
    from harness.evaluation.schema import PostprocessRule
    from harness.training.trace import Trace

EVENTS = "tensorboard"
"""Folder of the event files in a trial's folder: `tensorboard --logdir RUN_DIR` shows every trial of a run."""

PICTURES = 4


def check_installed() -> None:
    """Raise HarnessError where the package tensorboard is not installed."""
    if find_spec("tensorboard") is None:
        raise HarnessError("--tensorboard needs the package tensorboard; type: pip install tensorboard")


class EventFiles:
    """Event files, written during training. folder: created with the first file. batch: images a step."""

    def __init__(self, folder: Path, batch: int) -> None:
        """Raises HarnessError where the package tensorboard is not installed."""
        check_installed()
        self._folder, self._batch = folder, batch
        self._writer: SummaryWriter | None = None

    def steps(self, trace: Trace, before: int) -> None:
        """Write the steps of a trace after the first `before`. Later steps of an interrupted attempt are removed."""
        writer = self._open(before)
        for i in range(before, len(trace)):
            for name, values in trace.losses.items():
                writer.add_scalar(f"loss/{name}", values[i], i + 1)
            writer.add_scalar("learning_rate", trace.rate[i], i + 1)
            seconds = trace.recent_step_seconds(i + 1)
            if seconds > 0:
                writer.add_scalar("images_per_second", self._batch / seconds, i + 1)
        writer.flush()

    def pictures(
        self, step: int, dataset: Dataset, predictions: Mapping[str, Predictions], rule: PostprocessRule
    ) -> None:
        """Write overlays of the first few images, with the predictions that the rule keeps after `step` steps."""
        from harness.evaluation.calibration import apply_rule
        from harness.inference.formats.overlays import outlined

        writer = self._open(step)
        for image_id, found in islice(predictions.items(), PICTURES):
            kept = apply_rule(found, rule, dataset.classes)
            picture = outlined(dataset.sample(image_id).image, kept)
            writer.add_image(f"predictions/{image_id}", picture, step, dataformats="HWC")
        writer.flush()

    def _open(self, done: int) -> SummaryWriter:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=done + 1)
        return self._writer
