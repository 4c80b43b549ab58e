"""Implicit PointRend: a parameter head predicts, for each box, the weights of a small point network.

The point network maps a point of the box to a mask logit. Its input is the Fourier-coded position of the point and the
image feature there. Source: Cheng et al. 2022; detectron2
`projects/PointRend/point_rend/point_head.py`; docs/methods.md#implicit-pointrend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.contract import Task
from methods.implicit_pointrend import ImplicitPointRendOptions
from methods.shared.mask_heads import MaskHead
from methods.shared.supervision import MaskTargets

EVAL_BOXES = 32
"""Boxes in one chunk outside training, because each needs the weights of a point network in memory."""


class PointNetwork(nn.Module):
    """The network of each box: three hidden layers with ReLU and one output for each class. Its weights are arguments.

    Its input has 2 * frequencies channels of position code and `channels` of image feature.
    """

    codes: Tensor

    def __init__(self, channels: int, classes: int, hidden: int, frequencies: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.randn(2, frequencies))
        widths = [2 * frequencies + channels, hidden, hidden, hidden, classes]
        self.shapes = list(zip(widths[1:], widths[:-1], strict=True))
        self.count = sum(out * (into + 1) for out, into in self.shapes)

    def he_init(self) -> Tensor:
        """(count,) random weights of one network by the rule of He et al. 2015; biases are zero."""
        weights = [torch.randn(out, into) * math.sqrt(2 / into) for out, into in self.shapes]
        return torch.cat([w.flatten() for w in weights] + [torch.zeros(out) for out, _ in self.shapes])

    def forward(self, points: Tensor, features: Tensor, parameters: Tensor, classes: Tensor) -> Tensor:
        """(R, P) logits of the class of each box.

        Args:
            points: (R, P, 2) in box coordinates.
            features: (R, C, P) image features at the points.
            parameters: (R, count) weights of the networks.
            classes: (R,) int64.
        """
        phase = 2 * math.pi * ((2 * points - 1) @ self.codes)
        x = torch.cat([phase.sin().transpose(1, 2), phase.cos().transpose(1, 2), features], dim=1)
        sizes = [out * into for out, into in self.shapes] + [out for out, _ in self.shapes]
        pieces = parameters.split(sizes, dim=1)
        last = len(self.shapes) - 1
        for i, (out, into) in enumerate(self.shapes[:-1]):
            x = F.relu(torch.baddbmm(pieces[last + 1 + i][:, :, None], pieces[i].reshape(-1, out, into), x))
        # only the row of the box's own class is needed of the last layer
        rows = torch.arange(len(classes), device=classes.device)
        weight = pieces[last].reshape(-1, *self.shapes[-1])[rows, classes]
        return (weight[:, None] @ x)[:, 0] + pieces[-1][rows, classes][:, None]


class ImplicitField:
    """The masks of R boxes as functions of a point."""

    def __init__(self, head: ImplicitMaskHead, feature: Tensor, boxes: Sequence[Tensor], code: Tensor) -> None:
        self.head, self.feature, self.boxes, self.code = head, feature, boxes, code
        # in training the loss and the penalty both need the weights
        self.parameters = head.write(code) if head.training else None

    def at(self, points: Tensor, classes: Tensor) -> Tensor:
        if self.parameters is not None:
            return self._evaluate(self.boxes, points, classes, self.parameters)
        return torch.cat([self._evaluate(b, p, c, self.head.write(k)) for b, p, c, k in self._chunks(points, classes)])

    def grid(self, classes: Tensor) -> Tensor:
        """A coarse grid, upsampled `steps` times by 2. After each step the least certain points are evaluated anew."""
        head = self.head
        centres = grid_centres(head.grid_side, classes.device).expand(len(classes), -1, -1)
        masks = []
        for boxes, points, labels, code in self._chunks(centres, classes):
            parameters, side = head.write(code), head.grid_side
            logits = self._evaluate(boxes, points, labels, parameters).reshape(-1, side, side)
            for _ in range(head.steps):
                side *= 2
                logits = F.interpolate(logits[:, None], scale_factor=2.0, mode="bilinear", align_corners=False)[:, 0]
                flat = logits.flatten(1)
                uncertain = flat.abs().topk(min(head.grid_side**2, side**2), largest=False).indices
                evaluated = self._evaluate(boxes, grid_centres(side, classes.device)[uncertain], labels, parameters)
                logits = flat.scatter(1, uncertain, evaluated.to(flat.dtype)).reshape(-1, side, side)
            masks.append(logits)
        side = head.grid_side * 2**head.steps
        return torch.cat(masks) if masks else self.feature.new_zeros((0, side, side))

    def full_mask_loss(self, targets: MaskTargets, classes: Tensor) -> Tensor:
        """Mean binary cross-entropy at uniformly random points of each box; targets are interpolated bilinearly."""
        points = torch.rand((len(classes), self.head.train_points, 2), device=classes.device)
        logits = self.at(points, classes)
        return F.binary_cross_entropy_with_logits(logits, targets.masks_at(points).to(logits.dtype))

    def penalty(self) -> Tensor | None:
        parameters = self.head.write(self.code) if self.parameters is None else self.parameters
        return self.head.regulariser * parameters.square().mean()

    def _evaluate(self, boxes: Sequence[Tensor], points: Tensor, classes: Tensor, parameters: Tensor) -> Tensor:
        features = sample_point_features(self.feature, self.head.stride, boxes, points)
        logits: Tensor = self.head.point_network(points, features, parameters, classes)
        return logits

    def _chunks(self, points: Tensor, classes: Tensor) -> list[tuple[list[Tensor], Tensor, Tensor, Tensor]]:
        """Chunks of EVAL_BOXES boxes: (boxes by image, points, classes, codes). An image may have no box in a chunk."""
        image_of_box = torch.cat([torch.full((len(b),), i, device=classes.device) for i, b in enumerate(self.boxes)])
        all_boxes = torch.cat(list(self.boxes))
        chunks = []
        for rows in torch.arange(len(classes), device=classes.device).split(EVAL_BOXES):
            if len(rows):
                by_image = [all_boxes[rows[image_of_box[rows] == i]] for i in range(len(self.boxes))]
                chunks.append((by_image, points[rows], classes[rows], self.code[rows]))
        return chunks


class ImplicitMaskHead(MaskHead):
    """The parameter head: from a crop of the finest map to the weights of the point network of each box."""

    def __init__(
        self,
        channels: int,
        stride: int,
        point_network: PointNetwork,
        code_width: int,
        start: Literal["zero", "he"],
        crop: int,
        grid_side: int,
        steps: int,
        train_points: int,
        regulariser: float,
    ) -> None:
        super().__init__()
        self.stride, self.crop, self.grid_side, self.steps = stride, crop, grid_side, steps
        self.train_points, self.regulariser = train_points, regulariser
        self.point_network = point_network
        self.halve = nn.Conv2d(channels, channels, 2, 2)
        self.code = nn.Sequential(
            nn.Linear(channels * (crop // 2) ** 2, code_width),
            nn.ReLU(inplace=True),
            nn.Linear(code_width, code_width),
            nn.ReLU(inplace=True),
        )
        self.write = nn.Linear(code_width, point_network.count)
        nn.init.kaiming_normal_(self.halve.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.halve.bias)  # type: ignore[arg-type]
        for layer in self.code:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, a=1)
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.write.weight, std=0.001)
        nn.init.zeros_(self.write.bias)
        if start == "he":
            with torch.no_grad():
                self.write.bias.copy_(point_network.he_init())

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> ImplicitField:
        finest, count = features[0], sum(len(b) for b in boxes)
        points = grid_centres(self.crop, finest.device).expand(count, -1, -1)
        cut = sample_point_features(finest, self.stride, boxes, points).unflatten(2, (self.crop, self.crop))
        code = self.code(F.relu(self.halve(cut)).flatten(1))
        return ImplicitField(self, finest, boxes, code)


def grid_centres(side: int, device: torch.device) -> Tensor:
    """(side * side, 2) x y of the centres of a grid over the unit square, row by row."""
    line = (torch.arange(side, device=device, dtype=torch.float32) + 0.5) / side
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2)


def sample_point_features(feature: Tensor, stride: int, boxes: Sequence[Tensor], points: Tensor) -> Tensor:
    """Bilinear samples of a map at points of boxes; zero outside the map.

    Args:
        feature: (B, C, h, w).
        stride: Of the map.
        boxes: B tensors (R_b, 4), x0 y0 x1 y1 in pixels of the network's input.
        points: (R, P, 2) in box coordinates, R = sum R_b.

    Returns:
        (R, C, P).
    """
    x, y = 2 / (feature.shape[3] * stride), 2 / (feature.shape[2] * stride)
    sampled = []
    for image, (box, point) in enumerate(zip(boxes, points.split([len(b) for b in boxes]), strict=True)):
        pixels = box[:, None, :2] + point * (box[:, None, 2:] - box[:, None, :2])
        grid = torch.stack([pixels[..., 0] * x - 1, pixels[..., 1] * y - 1], dim=-1).to(feature.dtype)
        sampled.append(F.grid_sample(feature[image : image + 1], grid[None], align_corners=False)[0].transpose(0, 1))
    return torch.cat(sampled)


def build(
    task: Task, options: ImplicitPointRendOptions, *, channels: int, strides: tuple[int, ...]
) -> ImplicitMaskHead:
    """The mask head on a pyramid of `channels` channels whose levels have these strides."""
    network = PointNetwork(channels, len(task.classes), options.hidden, options.frequencies)
    return ImplicitMaskHead(
        channels,
        strides[0],
        network,
        options.code_width,
        options.start,
        options.crop,
        options.grid_side,
        options.steps,
        options.train_points,
        options.regulariser,
    )
