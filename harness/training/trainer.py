"""The training loop: one for every method. Read from top to bottom."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from harness.config.budget import Budget
from harness.config.precision import Precision
from harness.config.preset import Training
from harness.contract import Model, Sample
from harness.monitoring.progress import Progress, ProgressPipe
from harness.monitoring.sensor import Meter
from harness.results.status import Diverged, Interrupted
from harness.training import checkpoint, optimiser
from harness.training.clock import TrainingClock
from harness.training.device import autocast, random_state, restore_random_state, synchroniser
from harness.training.model_outputs import validated_total_loss
from harness.training.prefetch import prefetched
from harness.training.schedule import learning_rate
from harness.training.stream import TrainingStream
from harness.training.trace import Trace

WARM_UP_PASSES_ON_GPU = 2
"""One on a CPU, where a second changes nothing."""
CHECK_EVERY_ON_GPU = 20
"""Steps between looks at the losses on a GPU: each look waits for the device."""


@dataclass
class Trainer:
    """Trains one model under one budget.

    evaluate: called off the clock at each of `curve_fractions` of the budget; returns a validation IoU.
    checkpoint_seconds: wall time between checkpoints. micro_batches: parts that each batch is worked through in, to
    save memory; the gradient is that of the whole batch. listen: called off the clock whenever losses have been read,
    with the trace and how many of its steps were there before. meter: read while the training clock runs.
    """

    model: Model
    stream: TrainingStream
    training: Training
    budget: Budget
    device: str
    folder: Path
    progress: ProgressPipe
    micro_batches: int = 1
    precision: Precision = "auto"
    checkpoint_seconds: float = 120.0
    curve_fractions: Sequence[float] = ()
    evaluate: Callable[[], float] | None = None
    listen: Callable[[Trace, int], None] | None = None
    meter: Meter = field(default_factory=Meter)

    def run(self) -> Trace:
        """Train until the budget is spent, from the newest checkpoint in `folder` if there is one.

        Leaves the trained weights in `folder`, from which a run that is killed after this goes on.
        Raises Diverged when a loss is no longer finite, HarnessError when what the model gives is no loss, and
        Interrupted, with a checkpoint written, when asked to stop.
        """
        module = self.model.module
        if not any(p.requires_grad for p in module.parameters()):
            checkpoint.save_weights(self.folder, module)
            return Trace()
        self.optimiser = optimiser.build(module, self.training)
        restored = checkpoint.restore(self.folder, module, self.optimiser, self.device)
        restored = restored or checkpoint.Restored(0, Trace(), ended=False)
        step, self.trace = restored.step, restored.trace
        if restored.ended:
            return self.trace
        module.train()
        self._warm_up()

        wait = synchroniser(self.device)
        # one and the same, so that every checkpoint has what was measured until then
        self.meter.sums = self.trace.measured
        self.clock = TrainingClock(wait, self.trace.used_seconds, self.meter)
        self.pending: list[tuple[float, float, float, dict[str, torch.Tensor]]] = []
        gpu = self.device.startswith("cuda")
        batches = prefetched(self.stream.batch, step, self.device)
        last_save = time.monotonic()
        self.clock.start()
        try:
            while True:
                used = self._used(step)
                if any(len(self.trace.curve) <= i and used >= f for i, f in enumerate(sorted(self.curve_fractions))):
                    self._evaluate(used, step)
                if used >= 1:
                    break
                if self.progress.stop_requested():
                    raise Interrupted(f"stopped at step {step}, {used:.0%} of the budget")
                if time.monotonic() - last_save > self.checkpoint_seconds:
                    self._save(step)
                    last_save = time.monotonic()
                asked = time.perf_counter()
                batch = next(batches)
                waited = time.perf_counter() - asked
                rate = learning_rate(self.training, used)
                losses = self._step(batch, rate)
                step += 1
                self.pending.append((self.clock.seconds, waited, rate, losses))
                if not gpu or step % CHECK_EVERY_ON_GPU == 0:
                    self._look(step, used)
        except Interrupted:
            self._save(step)
            raise
        finally:
            batches.close()
        self.clock.stop()
        self._look(step, 1.0)
        checkpoint.save_end(self.folder, step, module, self.trace, self.device)
        return self.trace

    def _step(self, batch: Sequence[Sample], rate: float) -> dict[str, torch.Tensor]:
        """One optimiser step; the losses of the whole batch by name, not yet read."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        losses = self._backward(batch)
        if self.training.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.module.parameters(), self.training.clip_norm)
        self.optimiser.step()
        return losses

    def _backward(self, batch: Sequence[Sample]) -> dict[str, torch.Tensor]:
        parts = min(self.micro_batches, len(batch))
        sums: dict[str, torch.Tensor] = {}
        for k in range(parts):
            piece = batch[k::parts]
            share = len(piece) / len(batch)
            with autocast(self.device, self.precision):
                losses = self.model.losses(piece)
            (validated_total_loss(losses) * share).backward()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value.detach() * share
        return sums

    def _warm_up(self) -> None:
        """Forward and backward on the first batch, then everything as it was: kernels chosen, memory touched."""
        # on a GPU a minute or more where the network is compiled
        self.progress.report(Progress("warming up"))
        module = self.model.module
        random, state = random_state(self.device), copy.deepcopy(module.state_dict())
        for _ in range(WARM_UP_PASSES_ON_GPU if self.device.startswith("cuda") else 1):
            self._backward(self.stream.batch(0))
        self.optimiser.zero_grad(set_to_none=True)
        module.load_state_dict(state)
        restore_random_state(random, self.device)

    def _used(self, step: int) -> float:
        return self.budget.used(self.clock.seconds, step, self.stream.iterations_per_epoch)

    def _look(self, step: int, used: float) -> None:
        """Read the losses of the steps since the last look; report them; stop where one is not finite."""
        before = len(self.trace)
        for seconds, waited, rate, losses in self.pending:
            values = {name: float(value) for name, value in losses.items()}
            self.trace.add(seconds, waited, rate, values)
            bad = [name for name, value in values.items() if not math.isfinite(value)]
            if bad:
                raise Diverged(f"{bad[0]} is {values[bad[0]]} at step {len(self.trace)}")
        self.pending.clear()
        if not len(self.trace):
            return
        if self.listen is not None and len(self.trace) > before:
            with self.clock.stopped():
                self.listen(self.trace, before)
        per_step = self.trace.recent_step_seconds(len(self.trace))
        spent = self.trace.used_seconds
        self.progress.report(
            Progress(
                phase="training",
                step=step,
                fraction=min(used, 1.0),
                loss=sum(values[-1] for values in self.trace.losses.values()),
                images_per_second=self.stream.batch_size / per_step if per_step > 0 else None,
                seconds_left=spent / used * (1 - used) if used > 0 else None,
            )
        )

    def _evaluate(self, used: float, step: int) -> None:
        if self.evaluate is None:
            return
        with self.clock.stopped():
            self._look(step, used)
            random = random_state(self.device)
            self.model.module.eval()
            iou = self.evaluate()
            self.model.module.train()
            restore_random_state(random, self.device)
            self.trace.curve.append([min(used, 1.0), self.clock.seconds, float(step), iou])

    def _save(self, step: int) -> None:
        with self.clock.stopped():
            self._look(step, self._used(step))
            checkpoint.save(self.folder, step, self.model.module, self.optimiser, self.trace, self.device)
