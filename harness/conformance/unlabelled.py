"""A check of supervisions that learn from images without labels."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from harness.conformance.images import draw_sample
from harness.conformance.subject import PRESET, Subject, require

STEPS = 6
"""Steps of the training. Every share of its budget is met."""


def trains_with_unlabelled_images(subject: Subject) -> None:
    """A training with unlabelled images has finite losses, and what it learns from them can be stored."""
    import torch

    from harness.config.budget import Budget
    from harness.config.preset import load_preset
    from harness.data.dataset import Dataset
    from harness.data.unlabelled import UnlabelledImages
    from harness.monitoring.progress import ProgressFile
    from harness.orchestration.learning import add_learner
    from harness.training.trainer import Trainer

    pool = Dataset.from_samples([draw_sample(8, (80, 90), seed) for seed in range(10, 13)], subject.task().classes)
    unlabelled = UnlabelledImages(tuple((pool, i) for i in range(len(pool))))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=subject.build(),
            stream=subject.stream(subject.samples, batch=2),
            training=load_preset(PRESET).training,
            budget=Budget.parse(f"{STEPS}it"),
            device="cpu",
            folder=Path(folder),
            progress=ProgressFile(),
        )
        learner = add_learner(trainer, unlabelled, [8.0], seed=0)
        trace = trainer.run()
    require(len(trace) == STEPS, f"{len(trace)} of {STEPS} steps were done")
    buffer = io.BytesIO()
    torch.save(dict(learner.state()), buffer)
    buffer.seek(0)
    learner.restore(torch.load(buffer, weights_only=True))
