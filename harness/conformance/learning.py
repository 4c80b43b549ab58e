"""What a model must keep to in training."""

from __future__ import annotations

import numpy as np

from harness.conformance.images import drawn
from harness.conformance.subject import RATES, STEPS, Subject, halved, learns, predicted, require, steps, total_loss


def builds_for_one_and_three_classes(subject: Subject) -> None:
    """It builds, and gives losses, for one class and for three."""
    for classes in (1, 3):
        model = subject.build(classes)
        if learns(model):
            batch = subject.stream([drawn(6, seed=seed, classes=classes) for seed in range(2)]).batch(0)
            total_loss(model, batch)


def losses_and_gradients_are_finite(subject: Subject) -> None:
    """Losses and gradients are finite numbers."""
    import torch

    model = subject.build()
    if not learns(model):
        return
    losses = model.losses(subject.batch())
    for name, value in losses.items():
        require(bool(torch.isfinite(value)), f"the loss {name!r} is {value.item()}")
    torch.stack(list(losses.values())).sum().backward()
    for name, parameter in model.module.named_parameters():
        if parameter.grad is not None:
            require(bool(torch.isfinite(parameter.grad).all()), f"the gradient of {name} is not finite")


def every_part_learns(subject: Subject) -> None:
    """In every part of the model that has something to train, a parameter receives gradient."""
    model = subject.build()
    if not learns(model):
        return
    for step in range(3):
        total_loss(model, subject.stream(subject.samples).batch(step)).backward()
    parts = {f"{outer}.{inner}": part for outer, child in model.module.named_children()
             for inner, part in child.named_children()} | dict(model.module.named_children())  # fmt: skip
    for name, part in parts.items():
        trained = [p for p in part.parameters() if p.requires_grad]
        reached = [p for p in trained if p.grad is not None and bool((p.grad != 0).any())]
        require(not trained or bool(reached), f"no parameter of {name} receives gradient")


def any_number_of_cells(subject: Subject) -> None:
    """Images with no cell, one cell and 300 cells give finite losses with gradients, and predictions."""
    import torch

    model = subject.build()
    for cells in (0, 1, 300):
        sample = drawn(cells, (128, 128))
        if learns(model):
            model.module.train()
            batch = subject.stream([sample, sample], augmented=False).batch(0)
            total = total_loss(model, batch)
            require(bool(torch.isfinite(total)), f"with {cells} cells an image the loss is {total.item()}")
            total.backward()
        predicted(model, [sample.image])


def images_stay_as_they_are(subject: Subject) -> None:
    """Neither losses() nor predict() writes into the images and labels it is given."""
    model = subject.build()
    batch = subject.batch()
    before = [(s.image.copy(), s.instances.boxes.copy(), s.instances.labels.copy()) for s in batch]
    if learns(model):
        model.losses(batch)
    predicted(model, [sample.image for sample in batch])
    for sample, (image, boxes, labels) in zip(batch, before, strict=True):
        require(np.array_equal(sample.image, image), "an image was written to")
        require(np.array_equal(sample.instances.boxes, boxes), "boxes were written to")
        require(np.array_equal(sample.instances.labels, labels), "labels were written to")


def repeats_under_a_seed(subject: Subject) -> None:
    """Built and trained twice with one seed, its losses are the same, bit for bit."""
    first, second = (steps(subject.build(seed=3), subject.batch(), 3) for _ in range(2))
    require(first == second, f"losses {first} and then {second}")


def halves_its_loss(subject: Subject) -> None:
    """30 steps on one batch cut the loss by half."""
    _, totals = subject.trained
    fell = f"{totals[0]:.3f} to {np.median(totals[-5:]):.3f}" if totals else ""
    require(halved(totals), f"the loss went from {fell} in {STEPS} steps at rate {RATES[-1]}, and no better at others")
