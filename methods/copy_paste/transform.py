"""Simple Copy-Paste: cells of another image are pasted over this one (Ghiasi et al., CVPR 2021, arXiv 2012.07177).

Both images are cropped and flipped at random first. A pasted cell keeps its position in the crop. The *alpha* is the
union of the pasted masks: binary for annotations, smoothed for the image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.contract import Augment, Instances, Pool, Sample, Task
from harness.masks.crops import CropMasks
from harness.transforms.flips import RandomFlip
from harness.transforms.instances import MIN_PIXELS, clip, require_masks
from harness.transforms.window import RandomWindow
from methods.copy_paste import CopyPasteOptions


def build(task: Task, options: CopyPasteOptions) -> tuple[Augment, ...]:
    """Scale jitter and crop, flips, paste."""
    return (
        RandomWindow(task.crop, options.min_scale, options.max_scale, options.fit),
        RandomFlip(options.hflip, options.vflip),
        Paste(options),
    )


@dataclass(frozen=True)
class Paste:
    """Pastes a random part of another sample's cells.

    int(N * pct_objects_paste) of the other's N cells are pasted, but no more than max_paste_objects. With
    count="uniform" it is any number from none to that many (the authors' released code, with pct_objects_paste=1).

    occlusion decides which covered cells leave, besides those with fewer than MIN_PIXELS visible pixels. "relative":
    less than min_visible of their area is visible. "absolute": a side of their box moved by more than 10 pixels and at
    most 300 pixels are visible (the authors' rule, made for larger objects, applied cell by cell).
    """

    options: CopyPasteOptions

    needs_masks = True

    def __call__(self, sample: Sample, rng: np.random.Generator, pool: Pool) -> Sample:
        options = self.options
        if rng.random() >= options.p:
            return sample
        other = pool.draw(rng, sample.cell_type if options.within_type else None)
        source, cells = fit_to(other, sample)
        pasted = cells.select(self.choose(cells, len(sample.instances), rng))
        if not len(pasted):
            return sample
        alpha = union_mask(require_masks(pasted), sample.size)
        if options.match_grey:
            shift = round(float(sample.image.mean()) - float(source.mean()))
            source = np.clip(source.astype(np.int16) + shift, 0, 255).astype(np.uint8)
        return sample.with_(
            image=blend(sample.image, source, alpha, require_masks(pasted), options.sigma if options.blend else None),
            instances=concatenate(self.visible_instances(sample.instances, alpha), pasted),
        )

    def choose(self, cells: Instances, present: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Random indices of the cells to paste on an image that has `present` cells. Crowd regions are not pasted."""
        options = self.options
        able = np.arange(len(cells)) if cells.crowd is None else np.flatnonzero(~cells.crowd)
        number = int(len(able) * options.pct_objects_paste)
        if options.max_paste_objects is not None:
            number = min(number, options.max_paste_objects)
        if options.count == "uniform":
            number = int(rng.integers(number + 1))
        if options.max_cells is not None:
            number = min(number, max(0, options.max_cells - present))
        return rng.choice(able, number, replace=False)

    def visible_instances(self, instances: Instances, alpha: NDArray[np.uint8]) -> Instances:
        """The visible parts of the cells under a binary (H, W) alpha."""
        masks = require_masks(instances)
        index, area = masks.pixel_index(alpha.shape[1])
        covered = alpha.ravel()[index] != 0
        if not covered.any():
            return instances
        pixels = masks.pixels.copy()
        pixels[masks.pixels.view(np.bool_)] = ~covered
        left = CropMasks(masks.boxes, pixels, masks.offsets)
        visible = left.areas()
        touched = visible < area
        gone = visible < MIN_PIXELS
        if self.options.occlusion == "relative":
            gone |= visible < self.options.min_visible * area
        kept = (~(touched & gone)).nonzero()[0]
        left, _ = left.select(kept).tight(touched[kept].nonzero()[0])
        if self.options.occlusion == "absolute":
            far = (np.abs(left.boxes - masks.boxes[kept]) > 10).any(axis=1)
            stays = ~(touched[kept] & (visible[kept] <= 300) & far)
            left, kept = left.select(stays), kept[stays]
        below = replace(instances, masks=None).select(kept)
        return replace(below, boxes=left.boxes, masks=left, point_labels=relabel_covered_points(below, alpha))


def relabel_covered_points(cells: Instances, alpha: NDArray[np.uint8]) -> NDArray[np.int8] | None:
    """Point labels under a binary (H, W) alpha: points inside a cell that are covered are now outside."""
    labels = cells.point_labels
    if cells.points is None or labels is None:
        return labels
    x, y = np.floor(cells.points).astype(np.int64).T
    height, width = alpha.shape
    under = alpha[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)].T
    return np.where((labels == 1) & (under != 0), np.int8(0), labels)


def fit_to(other: Sample, sample: Sample) -> tuple[NDArray[np.uint8], Instances]:
    """The other image with the number of channels of the sample, and its cells clipped to the sample's size."""
    import cv2

    image = other.image
    if image.ndim < sample.image.ndim:
        image = np.repeat(image[..., None], 3, axis=2)
    elif image.ndim > sample.image.ndim:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    height, width = sample.size
    if other.size[0] <= height and other.size[1] <= width:
        return image, other.instances
    return image, clip(other.instances, 0, 0, width, height)


def union_mask(masks: CropMasks, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W) of 0 and 1: the union of the masks."""
    index, _ = masks.pixel_index(size[1])
    alpha = np.zeros(size, np.uint8)
    alpha.ravel()[index] = 1
    return alpha


def blend(
    below: NDArray[np.uint8],
    above: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    masks: CropMasks,
    sigma: float | None,
) -> NDArray[np.uint8]:
    """below * (1 - alpha) + above * alpha.

    Args:
        below: The image that is pasted on.
        above: The image that is pasted. It may have another size.
        alpha: (H, W) of 0 and 1, of the size of `below`; zero outside `above`.
        masks: Those whose union is the alpha. Only the rectangle around them is computed.
        sigma: Of the Gaussian that smooths the alpha, in pixels; None for a binary alpha.
    """
    import cv2

    # OpenCV truncates a float32 Gaussian at four sigma
    margin = 0 if sigma is None else int(np.ceil(4 * sigma)) + 1
    bottom, right = np.minimum(below.shape[:2], above.shape[:2])
    x0, y0 = np.maximum(masks.boxes[:, :2].min(axis=0) - margin, 0)
    x1, y1 = np.minimum(masks.boxes[:, 2:].max(axis=0) + margin, (right, bottom))
    here = np.s_[y0:y1, x0:x1]
    result = below.copy()
    if sigma is None:
        covered = alpha[here] != 0
        result[here][covered] = above[here][covered]
        return result
    soft = cv2.GaussianBlur(alpha[here].astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    if below.ndim == 3:
        soft = cv2.merge([soft] * 3)
    change = cv2.subtract(above[here], below[here], dtype=cv2.CV_32F)
    cv2.multiply(change, soft, dst=change)
    result[here] = cv2.add(change, below[here], dtype=cv2.CV_8U)
    return result


def concatenate(below: Instances, pasted: Instances) -> Instances:
    """The cells of both, those below first. The result has points and crowd flags if either has."""
    both = (below, pasted)
    crowd = None
    if any(part.crowd is not None for part in both):
        crowd = np.concatenate([np.zeros(len(part), bool) if part.crowd is None else part.crowd for part in both])
    # an image without cells may lack the arrays of points that all others have
    points = [part.points for part in both if part.points is not None]
    point_labels = [part.point_labels for part in both if part.point_labels is not None]
    return Instances(
        np.concatenate([part.boxes for part in both]),
        np.concatenate([part.labels for part in both]),
        CropMasks.concatenate([require_masks(part) for part in both]),
        np.concatenate(points) if points else None,
        np.concatenate(point_labels) if point_labels else None,
        crowd,
    )
