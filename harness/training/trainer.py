"""The training loop: one for every method. Read from top to bottom."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from harness.config.budget import Budget
from harness.config.precision import Precision
from harness.config.preset import Training
from harness.contract import Learner, Model, PseudoLabels, Sample
from harness.monitoring.progress import Progress, ProgressFile
from harness.monitoring.sensor import SensorGroup
from harness.results.status import Diverged, Interrupted
from harness.training import checkpoint, optimiser
from harness.training.clock import TrainingClock
from harness.training.device import autocast, random_state, restore_random_state, synchroniser
from harness.training.model_outputs import validated_total_loss
from harness.training.prefetch import prefetched
from harness.training.schedule import learning_rate
from harness.training.stream import TrainingStream
from harness.training.trace import EVALUATION_SECONDS, EVALUATIONS_LEFT_OUT, FIT_SECONDS, Trace

WARM_UP_PASSES_ON_GPU = 2
"""One on a CPU, where a second changes nothing."""
STEPS_BETWEEN_READS_ON_GPU = 20
"""Losses of so many steps are read at once on a GPU, since reading them waits for the device."""
MIN_EVALUATION_SECONDS = 3.0
"""That much evaluation is always allowed: of a training of seconds, nobody minds it."""


class Stream(Protocol):
    """Where batches come from."""

    @property
    def batch_size(self) -> int: ...

    @property
    def images_per_step(self) -> int:
        """Those of a batch, with unlabelled ones."""
        ...

    @property
    def iterations_per_epoch(self) -> float: ...

    def batch(self, step: int) -> list[Sample]:
        """The samples of one step, from 0: the same whenever they are asked for."""
        ...

    def originals(self) -> Iterable[Sample]:
        """Images for a model that learns nothing."""
        ...


class EvaluationTooSlow(Exception):  # noqa: N818 - an outcome, not a fault
    """A point of the learning curve would take more time than there is for it."""


class Pruned(Exception):  # noqa: N818 - an outcome, not a fault
    """Training was stopped early, since it fell behind other trials. trace: of the training so far."""

    def __init__(self, reason: str, trace: Trace) -> None:
        super().__init__(reason)
        self.trace = trace


@dataclass
class Trainer:
    """Trains one model under one budget.

    Args:
        device: "cpu", "mps" or "cuda[:N]"; harness.training.device.select_device has been called with it.
        folder: where checkpoints and the trained weights are written.
        micro_batches: each batch is processed in so many parts to save memory; the gradient is that of the whole batch.
        precision: of the forward pass.
        checkpoint_seconds: wall time between checkpoints.
        curve_fractions: fractions of the budget at which `evaluate` is called.
        evaluate: returns an IoU on validation images. Not counted as training. It should call `check_evaluation_time`
            after each image.
        evaluation_share: most that all evaluations together may take, as a share of the training time. Points of the
            curve that do not fit are left out.
        should_prune: called after each evaluation with the IoU of all so far; true stops the training early.
        on_losses: called whenever losses have been read, with the trace and its length before. Not counted as training.
        sensors: read while the training clock runs.
        learner: what the supervision does to learn from unlabelled images; None for one that does not.
    """

    model: Model
    stream: Stream
    training: Training
    budget: Budget
    device: str
    folder: Path
    progress: ProgressFile
    micro_batches: int = 1
    precision: Precision = "auto"
    checkpoint_seconds: float = 120.0
    curve_fractions: Sequence[float] = ()
    evaluate: Callable[[], float] | None = None
    evaluation_share: float = 0.1
    should_prune: Callable[[Sequence[float]], bool] | None = None
    on_losses: Callable[[Trace, int], None] | None = None
    sensors: SensorGroup = field(default_factory=SensorGroup)
    learner: Learner | None = None

    def run(self) -> Trace:
        """Train until the budget is spent, from the newest checkpoint in `folder` if there is one.

        Returns:
            One row a step. The trained weights are in `folder`; if the process is killed later, they are not trained
            again.

        Raises:
            Diverged: a loss is not finite.
            HarnessError: the model returns something that is not a loss.
            Interrupted: it was asked to stop; a checkpoint has been written.
            Pruned: `should_prune` said so.
        """
        module = self.model.module
        if not any(p.requires_grad for p in module.parameters()):
            return self._fit()
        if self._restore():
            return self.trace
        module.train()
        self._warm_up()
        # before the clock starts: on a GPU this forks the processes that make batches
        self.batches = prefetched(self.stream.batch, self.step, self.device)
        self.clock.start()
        try:
            self._train()
        except Interrupted:
            self._save()
            raise
        finally:
            self.batches.close()
        self.clock.stop()
        self._read_losses(1.0)
        checkpoint.save_end(self.folder, self.step, module, self.trace, self.device)
        return self.trace

    def _fit(self) -> Trace:
        """Show the training images to a model that learns nothing, and save its state. No step is done."""
        trace, module = Trace(), self.model.module
        self.sensors.sums = trace.measured
        fit: Callable[[Iterable[Sample]], None] | None = getattr(self.model, "fit", None)
        if fit is not None:
            self.progress.report(Progress("fitting"))
            module.eval()
            clock = TrainingClock(synchroniser(self.device), 0.0, self.sensors)
            clock.start()
            try:
                fit(self._images_within_budget(clock))
            finally:
                clock.stop()
            trace.measured[FIT_SECONDS] = clock.seconds
        checkpoint.save_weights(self.folder, module)
        return trace

    def _images_within_budget(self, clock: TrainingClock) -> Iterator[Sample]:
        """The training images, each once: as many as the budget allows if a batch of them counted as a step."""
        for i, sample in enumerate(self.stream.originals()):
            steps = i / self.stream.batch_size
            if self.budget.used(clock.seconds, steps, self.stream.iterations_per_epoch) >= 1:
                return
            if self.progress.stop_requested():
                raise Interrupted(f"stopped after {i} images; nothing was trained")
            yield sample

    def _restore(self) -> bool:
        """Set the state to that of the newest checkpoint, or of the start. Returns whether training has ended."""
        module = self.model.module
        self.optimiser = optimiser.build(module, self.training)
        restored = checkpoint.restore(self.folder, module, self.optimiser, self.device)
        restored = restored or checkpoint.Restored(0, Trace(), ended=False)
        self.step, self.trace = restored.step, restored.trace
        self._pseudo_labels: PseudoLabels | None = None
        if self.learner is not None and restored.learner:
            self.learner.restore(restored.learner)
            self._set_pseudo_labels(self.learner.pseudo)
        # the same dictionary, so that every checkpoint holds what was measured until then
        self.sensors.sums = self.trace.measured
        self.clock = TrainingClock(synchroniser(self.device), self.trace.used_seconds, self.sensors)
        self._longest_evaluation, self._evaluation_end = 0.0, math.inf
        self.unread: list[tuple[float, float, float, dict[str, torch.Tensor]]] = []
        return restored.ended

    def _warm_up(self) -> None:
        """Run forward and backward on the first batch, then restore everything.

        Kernels are chosen and compiled, and memory is allocated, before the clock starts.
        """
        # on a GPU this takes a minute or more where the network is compiled
        self.progress.report(Progress("warming up"))
        module = self.model.module
        random, state = random_state(self.device), copy.deepcopy(module.state_dict())
        for _ in range(WARM_UP_PASSES_ON_GPU if self.device.startswith("cuda") else 1):
            self._backward(self.stream.batch(0))
        self.optimiser.zero_grad(set_to_none=True)
        module.load_state_dict(state)
        restore_random_state(random, self.device)

    def _train(self) -> None:
        """Step until the budget is spent. Raises Interrupted when asked to stop."""
        reads_every = STEPS_BETWEEN_READS_ON_GPU if self.device.startswith("cuda") else 1
        last_save = time.monotonic()
        while True:
            used = self.used()
            if self._evaluation_is_due(used):
                self._evaluate(used)
            if used >= 1:
                return
            if self.progress.stop_requested():
                raise Interrupted(f"stopped at step {self.step}, {used:.0%} of the budget")
            if time.monotonic() - last_save > self.checkpoint_seconds:
                self._save()
                last_save = time.monotonic()
            if self.learner is not None:
                used = self._prepare_learner(self.learner)
            begin = time.perf_counter()
            batch = next(self.batches)
            waited = time.perf_counter() - begin
            rate = learning_rate(self.training, used)
            losses = self.train_step(batch, rate)
            if self.learner is not None:
                self.learner.after_step()
            self.step += 1
            self.unread.append((self.clock.seconds, waited, rate, losses))
            if self.step % reads_every == 0:
                self._read_losses(used)

    def _prepare_learner(self, learner: Learner) -> float:
        """Let the learner do what comes before a step. Returns the fraction of the budget used then."""
        learner.before_step()
        if learner.pseudo is not self._pseudo_labels:
            # batches that were made ahead do not have the new labels
            self.batches.close()
            self._set_pseudo_labels(learner.pseudo)
            self.batches = prefetched(self.stream.batch, self.step, self.device)
        return self.used()

    def _set_pseudo_labels(self, pseudo: PseudoLabels | None) -> None:
        assert isinstance(self.stream, TrainingStream), "a learner needs unlabelled images"
        self._pseudo_labels = self.stream.pseudo = pseudo

    def train_step(self, batch: Sequence[Sample], rate: float) -> dict[str, torch.Tensor]:
        """Do one optimiser step at this learning rate. Returns the losses of the whole batch, still on the device."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        losses = self._backward(batch)
        if self.training.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.module.parameters(), self.training.clip_norm)
        self.optimiser.step()
        return losses

    def _backward(self, batch: Sequence[Sample]) -> dict[str, torch.Tensor]:
        # no part without a labelled image, which come first
        parts = min(self.micro_batches, self.stream.batch_size, len(batch))
        sums: dict[str, torch.Tensor] = {}
        for k in range(parts):
            part = batch[k::parts]
            share = len(part) / len(batch)
            with autocast(self.device, self.precision):
                losses = (self.learner or self.model).losses(part)
            (validated_total_loss(losses) * share).backward()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value.detach() * share
        return sums

    def used(self) -> float:
        """The fraction of the budget that is spent by now."""
        return self.budget.used(self.clock.seconds, self.step, self.stream.iterations_per_epoch)

    def _read_losses(self, used: float) -> None:
        """Read the losses of the steps since the last call and report them. Raises Diverged where one is not finite."""
        before = len(self.trace)
        for seconds, waited, rate, losses in self.unread:
            values = {name: float(value) for name, value in losses.items()}
            self.trace.add(seconds, waited, rate, values)
            bad = [name for name, value in values.items() if not math.isfinite(value)]
            if bad:
                raise Diverged(f"{bad[0]} is {values[bad[0]]} at step {len(self.trace)}")
        self.unread.clear()
        if not len(self.trace):
            return
        if self.on_losses is not None and len(self.trace) > before:
            with self.clock.stopped():
                self.on_losses(self.trace, before)
        self._report(used)

    def _report(self, used: float) -> None:
        per_step = self.trace.recent_step_seconds(len(self.trace))
        self.progress.report(
            Progress(
                phase="training",
                step=self.step,
                fraction=min(used, 1.0),
                loss=sum(values[-1] for values in self.trace.losses.values() if math.isfinite(values[-1])),
                images_per_second=self.stream.images_per_step / per_step if per_step > 0 else None,
            )
        )

    def _evaluation_is_due(self, used: float) -> bool:
        done = len(self.trace.curve) + int(self.trace.measured.get(EVALUATIONS_LEFT_OUT, 0))
        return self.evaluate is not None and any(used >= f for f in sorted(self.curve_fractions)[done:])

    def _evaluate(self, used: float) -> None:
        """Add a point to the learning curve, if there is time. Training is not affected."""
        assert self.evaluate is not None
        with self.clock.stopped():
            self._read_losses(used)
            limit = self._seconds_for_evaluation(used)
            random, begin = random_state(self.device), time.monotonic()
            self._evaluation_end = begin + limit
            self.model.module.eval()
            try:
                if limit < self._longest_evaluation:
                    raise EvaluationTooSlow
                iou = self.evaluate()
                self.trace.curve.append([min(used, 1.0), self.clock.seconds, float(self.step), iou])
            except EvaluationTooSlow:
                self._count(EVALUATIONS_LEFT_OUT, 1.0)
            finally:
                self.model.module.train()
                restore_random_state(random, self.device)
                took = time.monotonic() - begin
                self._longest_evaluation = max(self._longest_evaluation, took)
                self._count(EVALUATION_SECONDS, took)
        if self.should_prune is not None and self.should_prune([point[-1] for point in self.trace.curve]):
            raise Pruned(f"stopped at {used:.0%} of the budget: behind earlier trials", self.trace)

    def check_evaluation_time(self) -> None:
        """Raise EvaluationTooSlow where the evaluation that is running has used up its time."""
        if time.monotonic() > self._evaluation_end:
            raise EvaluationTooSlow

    def _count(self, name: str, amount: float) -> None:
        self.trace.measured[name] = self.trace.measured.get(name, 0.0) + amount

    def _seconds_for_evaluation(self, used: float) -> float:
        """What is left of `evaluation_share` of the whole training time, which is projected from the budget used."""
        whole = self.clock.seconds / used if used > 0 else math.inf
        spent = self.trace.measured.get(EVALUATION_SECONDS, 0.0)
        return max(self.evaluation_share * whole, MIN_EVALUATION_SECONDS) - spent

    def _save(self) -> None:
        with self.clock.stopped():
            self._read_losses(self.used())
            learner = None if self.learner is None else self.learner.state()
            checkpoint.save(self.folder, self.step, self.model.module, self.optimiser, self.trace, self.device, learner)
