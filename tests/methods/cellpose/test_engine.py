"""cellpose behind the contract agrees with the package that it is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("cellpose.dynamics", reason='cellpose is not installed: pip install -e ".[cellpose]"')

from harness.conformance.images import draw_sample
from harness.contract import Init, Sample, Task
from harness.errors import HarnessError
from harness.masks.crops import CropMasks
from harness.stacks import resolve
from methods.cellpose import engine

CPU = torch.device("cpu")


def build(size: str = "small", init: Init | None = None, classes: int = 1, **options: Any) -> engine.CellposeModel:
    from harness.catalog import load_catalog

    inside = ",".join(f"{name}={value}" for name, value in options.items())
    resolved = resolve(load_catalog(), f"cellpose({inside})", size, init or Init())
    names = tuple(map(str, range(classes)))
    task = Task(names, (110.0,) * 3, (40.0,) * 3, 64, 10, (64, 64), cell_diameter=20.0)
    model: engine.CellposeModel = resolved.recipe.engine.build(resolved.recipe, task)
    return model


def apart(cells: int = 5) -> Sample:
    """An image of cells that do not overlap, without what overlaps have left small."""
    sample = draw_sample(cells, (96, 96), seed=4)
    labels = engine.label_map(sample.instances, sample.size)
    masks, numbers = CropMasks.from_label_image(labels)
    large = masks.areas() > 60
    masks, numbers = masks.select(large), numbers[large]
    kept = sample.instances.select(numbers - 1)
    return sample.with_(instances=type(kept)(masks.boxes, kept.labels, masks))


def test_the_loss_of_a_batch_is_the_packages() -> None:
    train = pytest.importorskip("cellpose.train")
    torch.manual_seed(0)
    samples = [apart(n) for n in (3, 6)]
    model = build(target_diameter=20)
    images = torch.stack([model._input(s.image, s.size, s.size) for s in samples])
    maps = [engine.label_map(s.instances, s.size) for s in samples]
    lbl = np.stack([engine.dynamics.labels_to_flows([labels], device=CPU)[0][1:] for labels in maps])
    model.module.eval()
    with torch.no_grad():
        theirs = train._loss_fn_seg(lbl, model.module(images)[0], CPU)
        ours = sum(model.losses(samples).values())
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)


def test_the_full_network_is_the_packages() -> None:
    model = build("full")
    theirs = engine.resnet_torch.CPnet([2, 32, 64, 128, 256], 3, sz=3)
    shapes = {name: value.shape for name, value in model.module.state_dict().items()}
    assert shapes == {name: value.shape for name, value in theirs.state_dict().items()}
    trainable = sum(p.numel() for p in model.module.parameters() if p.requires_grad)
    assert f"{trainable:,}" in engine_card()["parameters (2 input channels)"]


def engine_card() -> dict[str, str]:
    from methods.cellpose import METHOD

    return dict(METHOD.card.published)


def test_masks_from_true_flows_are_the_labels() -> None:
    sample = apart()
    labels = engine.label_map(sample.instances, sample.size)
    targets = engine.flow_targets(labels, CPU)
    flows, logits = 5 * targets[1:], np.where(targets[0] > 0, 6, -6).astype(np.float32)
    cells = engine.reconstruct(flows, logits, 0.0, CPU)
    assert cells.max() == len(sample.instances)
    for i in range(1, cells.max() + 1):
        of_cell = cells == i
        true = labels == np.bincount(labels[of_cell]).argmax()
        assert (of_cell & true).sum() / (of_cell | true).sum() > 0.9
    scores = engine.cell_scores(cells, flows, logits, CPU)
    assert (scores > 0.9).all()
    assert (engine.cell_scores(cells, -flows, logits, CPU) < 0.3).all(), "flows that lead out of the cell"
    assert (engine.cell_scores(cells, flows, logits - 6, CPU) < 0.6).all(), "pixels that are cell by a hair"


def test_cells_are_resized_to_the_networks_diameter() -> None:
    assert build()._resized((200, 120)) == (176, 96), "17 over 20, in multiples of 16"
    assert build("full")._resized((200, 120)) == (304, 176), "30 over 20"
    assert build("full", diameter=60)._resized((200, 120)) == (96, 64)


def test_a_trained_model_keeps_its_diameters() -> None:
    first, second = build(diameter=40), build(diameter=10)
    second.module.load_state_dict(first.module.state_dict())
    assert second._resized((200, 120)) == first._resized((200, 120))


def test_weights_of_the_package_start_a_model(tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs = engine.resnet_torch.CPnet([2, 32, 64, 128, 256], 3, sz=3, diam_mean=30.0)
    theirs.diam_labels.data[:] = 99
    theirs.save_model(tmp_path / "cyto3")
    model = build("full", weights=tmp_path / "cyto3")
    name = "downsample.down.res_down_0.conv.conv_0.2.weight"
    assert torch.equal(model.module.state_dict()[name], theirs.state_dict()[name])
    assert float(model.module.diam_labels) == 20, "the diameter of the data at hand"
    many = build("full", weights=tmp_path / "cyto3", classes=3)
    assert torch.equal(many.module.state_dict()[name], theirs.state_dict()[name]), "all but the output"
    with pytest.raises(HarnessError, match="does not fit this network"):
        build("small", weights=tmp_path / "cyto3")


@pytest.mark.parametrize("kind", ["imagenet", "coco"])
def test_weights_it_has_not_are_one_line(kind: str) -> None:
    with pytest.raises(HarnessError, match=rf"cellpose has no {kind} weights; type"):
        build(init=Init(kind))  # type: ignore[arg-type]


def test_classes_are_learnt_inside_cells_only() -> None:
    logits = torch.zeros(1, 2, 1, 3)
    logits[0, 1, 0, 0] = 10
    classes = torch.tensor([[[1, -1, -1]]])
    assert float(engine.class_loss(logits, classes)) < 1e-3
    assert float(engine.class_loss(logits, classes * 0 - 1)) == 0
    cells = np.asarray([[1, 2, 2]], np.int32)
    assert engine.class_of_cells(cells, logits[0].numpy()).tolist() == [1, 0]
    assert engine.class_of_cells(cells, logits[0, :0].numpy()).tolist() == [0, 0]
