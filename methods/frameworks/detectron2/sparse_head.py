"""The head of the proposal network with a backward pass that visits only the pixels that have a gradient.

The losses of the proposal network read a few hundred sampled anchors of each image, and there are tens of thousands.
The gradient of all others is zero, yet the backward pass of a convolution multiplies them too. Here it multiplies the
3x3 patches around the pixels whose gradient is not zero, so that the gradients are the same for any loss. The more
pixels have one, the more memory it takes: nine vectors of channels for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def sparse_head_outputs(head: Any, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Objectness and deltas of detectron2's StandardRPNHead at all A anchors, level after level.

    Args:
        head: A 3x3 convolution with ReLU, and two 1x1 convolutions for the k anchors of each pixel.
        maps: (B, C, h, w) for each level.

    Returns:
        (B, A) logits and (B, A, 4) deltas; A is k times the pixels of all levels.
    """
    layers = (head.conv, head.objectness_logits, head.anchor_deltas)
    logits, deltas = _SparseHead.apply(*(p for layer in layers for p in (layer.weight, layer.bias)), *maps)
    return logits, deltas


class _SparseHead(torch.autograd.Function):
    """Convolutions forward; backward, matrix products over patches around the P pixels with a gradient."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias, of_logits, logits_bias, of_deltas, deltas_bias = tensors[:6]
        hidden = [F.relu_(F.conv2d(x, weight, bias, padding=1)) for x in tensors[6:]]
        logits = [F.conv2d(x, of_logits, logits_bias).permute(0, 2, 3, 1).flatten(1) for x in hidden]
        deltas = [F.conv2d(x, of_deltas, deltas_bias).permute(0, 2, 3, 1).reshape(len(x), -1, 4) for x in hidden]
        ctx.save_for_backward(*tensors, *hidden)
        return torch.cat(logits, dim=1), torch.cat(deltas, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_logits: Tensor, of_deltas: Tensor) -> tuple[Tensor, ...]:
        parameters, rest = ctx.saved_tensors[:6], ctx.saved_tensors[6:]
        maps, hidden = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        sizes = [tuple(x.shape[2:]) for x in maps]
        images, anchors = len(of_logits), len(parameters[2])
        outputs = torch.cat([of_logits.reshape(images, -1, anchors), of_deltas.reshape(images, -1, 4 * anchors)], dim=2)
        image, pixel = torch.nonzero((outputs != 0).any(dim=2), as_tuple=True)
        of_outputs = outputs[image, pixel]

        values = _vectors(hidden)[image, pixel]
        of_layers = of_outputs.T @ values.to(of_outputs.dtype)
        last = torch.cat([parameters[2].flatten(1), parameters[4].flatten(1)]).to(values.dtype)
        of_values = (of_outputs.to(values.dtype) @ last) * (values > 0)

        table = _vectors(maps)
        pixels, inside = _patches(sizes, pixel)
        patches = table[image[:, None], pixels].masked_fill_(~inside[..., None], 0.0)
        weight = parameters[0]
        of_weight = (of_values.to(patches.dtype).T @ patches.flatten(1)).reshape(len(weight), 3, 3, -1)
        kernel = weight.permute(0, 2, 3, 1).flatten(1).to(of_values.dtype)
        of_patches = (of_values @ kernel).reshape(patches.shape).to(table.dtype).masked_fill_(~inside[..., None], 0.0)
        of_table = torch.zeros_like(table).flatten(0, 1)
        rows = image[:, None] * table.shape[1] + pixels
        of_table.index_add_(0, rows.flatten(), of_patches.flatten(0, 1))

        sums = of_outputs.sum(dim=0)
        gradients = [of_weight.permute(0, 3, 1, 2), of_values.sum(dim=0), of_layers[:anchors], sums[:anchors]]
        gradients += [of_layers[anchors:], sums[anchors:]]
        shaped = [g.to(p.dtype).reshape(p.shape) for g, p in zip(gradients, parameters, strict=True)]
        lengths = [height * width for height, width in sizes]
        levels = of_table.reshape(table.shape).split(lengths, dim=1)
        return *shaped, *(x.transpose(1, 2).reshape(m.shape) for x, m in zip(levels, maps, strict=True))


def _vectors(maps: Sequence[Tensor]) -> Tensor:
    """(B, P, C) from (B, C, h, w) maps with P pixels in all."""
    return torch.cat([x.flatten(2).transpose(1, 2) for x in maps], dim=1)


def _patches(sizes: Sequence[tuple[int, ...]], pixel: Tensor) -> tuple[Tensor, Tensor]:
    """(n, 9) indices of the pixels around (n,) pixels, and whether they lie in the map of the level.

    sizes: height and width of each level; pixels are counted row by row, level after level.
    """
    facts, first = [], 0
    for height, width in sizes:
        facts.append(pixel.new_tensor([first, height, width]).expand(height * width, 3))
        first += height * width
    start, rows, columns = torch.cat(facts)[pixel][..., None, None].unbind(1)
    steps = torch.arange(-1, 2, device=pixel.device)
    place = pixel[:, None, None] - start
    y, x = place // columns + steps[:, None], place % columns + steps
    inside = (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
    pixels = start + y * columns + x
    return torch.where(inside, pixels, 0).flatten(1), inside.flatten(1)
