"""Checks of building and training."""

from __future__ import annotations

import numpy as np

from harness.conformance.images import draw_sample
from harness.conformance.subject import (
    LEARNING_RATES,
    STEPS,
    Subject,
    Violation,
    is_trainable,
    loss_halved,
    predict,
    require,
    total_loss,
    train,
)


def builds_for_one_and_three_classes(subject: Subject) -> None:
    """The model builds and gives losses for one class and for three."""
    for classes in (1, 3):
        model = subject.build(classes)
        if is_trainable(model):
            batch = subject.stream([draw_sample(6, seed=seed, classes=classes) for seed in range(2)]).batch(0)
            total_loss(model, batch)


def losses_and_gradients_are_finite(subject: Subject) -> None:
    """Losses and gradients are finite numbers."""
    import torch

    model = subject.build()
    if not is_trainable(model):
        return
    losses = model.losses(subject.batch())
    for name, value in losses.items():
        require(bool(torch.isfinite(value)), f"the loss {name!r} is {value.item()}")
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in model.module.named_parameters():
        if parameter.grad is not None:
            require(bool(torch.isfinite(parameter.grad).all()), f"the gradient of {name} is not finite")


def every_part_receives_gradient(subject: Subject) -> None:
    """In every part of the model that has trainable parameters, at least one receives a gradient."""
    model = subject.build()
    if not is_trainable(model):
        return
    for step in range(3):
        total_loss(model, subject.stream(subject.samples).batch(step)).backward()
    parts = {f"{outer}.{inner}": part for outer, child in model.module.named_children()
             for inner, part in child.named_children()} | dict(model.module.named_children())  # fmt: skip
    for name, part in parts.items():
        trained = [p for p in part.parameters() if p.requires_grad]
        reached = [p for p in trained if p.grad is not None and bool((p.grad != 0).any())]
        require(not trained or bool(reached), f"no parameter of {name} receives gradient")


def takes_any_number_of_cells(subject: Subject) -> None:
    """Images with no cell, one cell and 300 cells give finite losses with gradients, and predictions."""
    import torch

    model = subject.build(max_cells=300)
    for cells in (0, 1, 300):
        sample = draw_sample(cells, (128, 128))
        if is_trainable(model):
            model.module.train()
            batch = subject.stream([sample, sample], augmented=False).batch(0)
            total = total_loss(model, batch)
            require(bool(torch.isfinite(total)), f"with {cells} cells an image the loss is {total.item()}")
            total.backward()
        predict(model, [sample.image])


def inputs_are_not_modified(subject: Subject) -> None:
    """Neither losses() nor predict() writes to the images and labels it is given."""
    model = subject.build()
    batch = subject.batch()
    before = [(s.image.copy(), s.instances.boxes.copy(), s.instances.labels.copy()) for s in batch]
    if is_trainable(model):
        model.losses(batch)
    predict(model, [sample.image for sample in batch])
    for sample, (image, boxes, labels) in zip(batch, before, strict=True):
        require(np.array_equal(sample.image, image), "an image was written to")
        require(np.array_equal(sample.instances.boxes, boxes), "boxes were written to")
        require(np.array_equal(sample.instances.labels, labels), "labels were written to")


def training_repeats_under_a_seed(subject: Subject) -> None:
    """Built and trained twice with one seed, the model has bitwise equal losses."""
    first, second = (train(subject.build(seed=3), subject.batch(), 3) for _ in range(2))
    require(first == second, f"the losses are {first} and then {second}")


def overfits_one_batch(subject: Subject) -> None:
    """30 training steps on one batch halve the loss."""
    _, totals = subject.trained
    if not loss_halved(totals):
        change = f"from {totals[0]:.3f} to {np.median(totals[-5:]):.3f} in {STEPS} steps"
        raise Violation(f"the loss went {change}; the learning rates {', '.join(map(str, LEARNING_RATES))} were tried")
