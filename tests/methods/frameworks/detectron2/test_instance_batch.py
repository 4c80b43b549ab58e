"""Instances of images with any number of them are padded to one shape."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from engine_fixtures import discs

from harness.contract import Sample
from methods.frameworks.detectron2.instance_batch import InstanceBatch
from methods.pointsup.supervision import Points

CPU = torch.device("cpu")


def test_padding_and_indices() -> None:
    samples = [discs(3, seed=1), discs(0, seed=2), discs(5, seed=3, side=64)]
    cells = InstanceBatch.from_samples(samples, 2.0, CPU)
    assert cells.boxes.shape == (3, 5, 4)
    assert cells.counts == [3, 0, 5]
    assert cells.first_indices == [0, 3, 3]
    assert cells.valid.sum(dim=1).tolist() == cells.counts
    for image, sample in enumerate(samples):
        here = cells.valid[image]
        np.testing.assert_array_equal(cells.boxes[image][here].numpy(), sample.instances.boxes * 2)
        np.testing.assert_array_equal(cells.classes[image][here].numpy(), sample.instances.labels)
        assert (cells.boxes[image][~here] == 0).all()
    np.testing.assert_array_equal(
        cells.host_boxes.numpy(), 2 * np.concatenate([sample.instances.boxes for sample in samples])
    )
    assert cells.masks is not None
    assert cells.masks.last_pixel[0].tolist() == [95, 95]
    assert cells.masks.last_pixel[7].tolist() == [63, 63]


def test_masks_of_a_batch_are_those_of_each_image() -> None:
    samples = [discs(3, seed=1), discs(4, seed=3, side=64)]
    together = InstanceBatch.from_samples(samples, 1.0, CPU)
    grids = []
    for sample in samples:
        alone = InstanceBatch.from_samples([sample], 1.0, CPU)
        assert alone.masks is not None
        grids.append(alone.masks.roi_align(alone.host_boxes + 0.25, 9))
    assert together.masks is not None
    torch.testing.assert_close(together.masks.roi_align(together.host_boxes + 0.25, 9), torch.cat(grids))


def test_images_without_instances() -> None:
    cells = InstanceBatch.from_samples([discs(0), discs(0)], 1.0, CPU)
    assert cells.boxes.shape == (2, 1, 4)
    assert not cells.valid.any()
    assert [len(numbers) for numbers in cells.sample_indices(None)] == [0, 0]


def test_points_where_an_image_has_none() -> None:
    annotator, rng = Points(10, 5), np.random.default_rng(0)
    labelled = [s.with_(instances=annotator.labels(s.instances, rng)) for s in (discs(2), discs(3, seed=1))]
    bare = discs(0)
    without = bare.with_(instances=dataclasses.replace(bare.instances, masks=None))
    cells = InstanceBatch.from_samples([labelled[0], without, labelled[1]], 1.0, CPU)
    assert cells.masks is None
    assert cells.points is not None
    assert cells.points.shape == (5, 10, 2)
    np.testing.assert_array_equal(cells.points[2:].numpy(), labelled[1].instances.points)


def test_instances_are_sampled_without_repeats_within_their_image() -> None:
    samples: list[Sample] = [discs(30, seed=1), discs(4, seed=2)]
    many, few = InstanceBatch.from_samples(samples, 1.0, CPU).sample_indices(10)
    assert len(set(many.tolist())) == 10
    assert many.max() < 30
    assert few.tolist() == [30, 31, 32, 33]
