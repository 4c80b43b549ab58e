"""Some of the training images keep their labels, the others become unlabelled (`--labels`)."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from harness.data.dataset import Dataset
from harness.data.splits.parts import Splits
from harness.errors import HarnessError


def check_labels(text: str) -> str:
    """The text of --labels, if it is a number of images ("20") or a share of the training images ("10%").

    Raises HarnessError where it is neither.
    """
    if not re.fullmatch(r"[1-9]\d*|(\d+(\.\d+)?)%", text) or (text.endswith("%") and not 0 < float(text[:-1]) <= 100):
        raise HarnessError(f"--labels {text!r}: type a number of images, as in 20, or a share, as in 10%")
    return text


def hide_labels(dataset: Dataset, splits: Splits, text: str) -> Splits:
    """The split with as many labelled training images as `text` says. The others are in `unlabelled`.

    The images depend on their ids and cell types alone, so that all methods and seeds have the same ones. A smaller
    number takes some of those that a larger one takes. Cell types keep their shares.

    Raises:
        HarnessError: there are fewer training images, or none of those that were taken has a cell.
    """
    ids = splits.train
    wanted = int(text) if not text.endswith("%") else max(1, round(len(ids) * float(text[:-1]) / 100))
    if wanted > len(ids):
        raise HarnessError(f"--labels {text}: there are {len(ids)} training images; type {len(ids)} or fewer")
    number = {image_id: i for i, image_id in enumerate(dataset.ids)}
    taken = _by_type(ids, [dataset.cell_types[number[image_id]] for image_id in ids])[:wanted]
    counts = dataset.cells_per_image
    if not any(counts[number[image_id]] for image_id in taken):
        raise HarnessError(f"--labels {text}: none of the images that it takes has a cell; type a larger number")
    rest = set(ids).difference(taken)
    return replace(splits, train=tuple(sorted(taken)), unlabelled=tuple(sorted(rest)))


def _by_type(ids: tuple[str, ...], types: list[str | None]) -> list[str]:
    """All ids in an order of which every beginning has the cell types in their shares, as near as can be."""
    drawn = np.random.default_rng([0, len(ids)]).permutation(len(ids)).tolist()
    of_type: dict[str | None, list[int]] = {}
    for i in drawn:
        of_type.setdefault(types[i], []).append(i)
    # number k of n images of a type stands at (k + 1/2) / n of the way; among equals the draw decides
    place = {i: (k + 0.5) / len(members) for members in of_type.values() for k, i in enumerate(members)}
    return [ids[i] for i in sorted(drawn, key=lambda i: place[i])]
