"""Convolutions as products of matrices: what a filter looks at, laid out as one line for each of its positions.

A convolution is then a linear layer with many positions: the lines are made once, and serve the pass forward and each person's
gradient. Lines are (height, width, channel), so that channels stand together: pooling is several times faster that way, and nothing
has to be compiled at run time, which the walls of a worker do not allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from bastion_plan.models.graph import Node
from torch import Tensor
from torch.nn import functional as nnf

Pair = tuple[int, int]
#: how a convolution goes over what it is given: kernel, stride, padding, dilation
Way = tuple[Pair, Pair, Pair, Pair]
#: a filter of one place, which looks at each as it is
_PLAIN = ((1, 1), (1, 1), (0, 0))
#: channels from which on it is faster to add up whole places
_WIDE = 16
_NNPACK: bool = torch.backends.nnpack.is_available()  # type: ignore[no-untyped-call]


def way_of(node: Node, weight: Sequence[int]) -> Way:
    """Return how a convolution goes. weight: its shape."""
    stride, padding, dilation = (tuple(x) for x in node.args[3:6])
    if node.op == "conv1d":
        return (1, weight[2]), (1, *stride), (0, *padding), (1, *dilation)
    return _two(weight[2:]), _two(stride), _two(padding), _two(dilation)


def convolved(x: Tensor, weight: Tensor, way: Way, groups: int) -> tuple[Tensor, Tensor]:
    """Return what filters say, and the lines they looked at; the same filters for all rows.

    x: images x channels x height x width. weight: with as many dimensions. What is returned is images x down x across x channels,
    and x numbers of a line (kernel's height x width x channels); no gradient by the weight can be asked for.
    """
    found: tuple[Tensor, Tensor] = _Convolved.apply(x, weight, way, groups)  # type: ignore[no-untyped-call]
    return found


def filters(lines: Tensor, back: Tensor, shape: Sequence[int], groups: int) -> Tensor:
    """Return people's gradients by filters, people x count, in the order of `ordered`. lines, back: people x positions x numbers."""
    if groups == 1:
        return (back.mT @ lines).flatten(1)
    people, positions, _ = lines.shape
    lines = lines.reshape(people, positions, -1, groups, shape[1])
    back = back.reshape(people, positions, groups, -1)
    if shape[1] == 1 and shape[0] == groups:
        return (lines.squeeze(-1) * back.mT).sum(1).mT.flatten(1)
    return torch.einsum("psgo,pskgc->pgokc", back, lines).flatten(1)


def ordered(flat: Tensor, shape: Sequence[int]) -> Tensor:
    """Return numbers in the order of `filters` (channels last) as the weight has them."""
    return flat.reshape(shape[0], *shape[2:], shape[1]).movedim(-1, 1)


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, way: Way, groups: int) -> tuple[Tensor, Tensor]:
        lines = _lines(x, way)
        if _straight(way, groups):
            return nnf.conv2d(x, weight, padding=way[2]).movedim(1, -1), lines
        return _said(lines, weight, groups), lines

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Way, int], output: tuple[Tensor, Tensor]) -> None:
        x, weight, ctx.way, ctx.groups = inputs
        ctx.shape = x.shape
        ctx.save_for_backward(weight)
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, back: Tensor | None, _: None) -> tuple[Tensor | None, None, None, None]:
        (weight,) = ctx.saved_tensors
        if back is None:
            return None, None, None, None
        return _gradient(back, weight, ctx.shape, ctx.way, ctx.groups), None, None, None

    @staticmethod
    def vmap(
        info: Any, dims: tuple[int | None, ...], x: Tensor, weight: Tensor, way: Way, groups: int
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        # INVARIANT: rows are images, which a convolution keeps apart; filters of a row's own are none of these
        assert dims[0] is not None and dims[1] is None
        x = x.movedim(dims[0], 0)
        found, lines = convolved(x.flatten(0, 1), weight, way, groups)
        found, lines = (y.reshape(*x.shape[:2], *y.shape[1:]) for y in (found, lines))
        return (found, lines), (0, 0)


def _said(lines: Tensor, weight: Tensor, groups: int) -> Tensor:
    out, channels = weight.shape[:2]
    if groups == 1:
        weight = weight.permute(0, 2, 3, 1).reshape(out, -1)
        if lines.stride(-1) == 1:
            said: Tensor = lines @ weight.mT
            return said
        # as they stand in memory
        found = weight.expand(len(lines), -1, -1) @ lines.flatten(1, 2).mT
        return found.mT.reshape(*lines.shape[:3], out)
    lines = lines.reshape(*lines.shape[:-1], -1, groups, channels)
    if channels == 1 and out == groups:
        return (lines.squeeze(-1) * weight.reshape(groups, -1).mT).sum(-2)
    return torch.einsum("nhwkgc,gock->nhwgo", lines, weight.reshape(groups, out // groups, channels, -1)).flatten(-2)


def _gradient(back: Tensor, weight: Tensor, shape: Sequence[int], way: Way, groups: int) -> Tensor:
    """Return the gradient by what was looked at: the sum of all copies of a place."""
    kernel, stride, padding, dilation = way
    images, out = back.shape[0], weight.shape[0]
    if _straight(way, groups):
        edges = [k - 1 - p for k, p in zip(kernel, padding, strict=True)]
        return nnf.conv2d(back.movedim(-1, 1), weight.flip(2, 3).transpose(0, 1), padding=edges)
    if groups == 1 and shape[1] >= _WIDE:
        return _together(back, weight, shape, way)
    back = back.reshape(images, -1, out)
    if groups == 1:
        lines = weight.reshape(out, -1).mT.expand(images, -1, -1) @ back.mT
    elif groups == out == shape[1]:
        lines = (weight.reshape(out, -1, 1) * back.mT.unsqueeze(2)).flatten(1, 2)
    else:
        some = back.reshape(images, -1, groups, out // groups)
        lines = torch.einsum("nlgo,gok->ngkl", some, weight.reshape(groups, out // groups, -1)).flatten(1, 2)
    if way[:3] == _PLAIN:
        return lines.reshape(*shape)
    return nnf.fold(lines, (shape[2], shape[3]), kernel, dilation, padding, stride)


def _lines(x: Tensor, way: Way) -> Tensor:
    (high, wide), (down, across), (above, beside), (apart, between) = way
    x = x.permute(0, 2, 3, 1)
    if above or beside:
        x = nnf.pad(x, (0, 0, beside, beside, above, above))
    x = x.contiguous()
    if way[:3] == _PLAIN:
        return x
    images, height, width, channels = x.shape
    rows, places = _places(height, high, down, apart), _places(width, wide, across, between)
    one, line, image = channels, width * channels, height * width * channels
    at, of = (down * line, across * one), (apart * line, between * one, 1)
    size = high * wide * channels
    if wide * channels < places:
        # few numbers stand together: what is copied goes along places, and stands in memory so
        view = x.as_strided((images, high, wide, channels, rows, places), (image, *of, *at))
        return view.reshape(images, size, rows, places).movedim(1, -1)
    return x.as_strided((images, rows, places, high, wide, channels), (image, *at, *of)).reshape(
        images, rows, places, size
    )


def _together(back: Tensor, weight: Tensor, shape: Sequence[int], way: Way) -> Tensor:
    """Add up lines where they came from, all channels at once."""
    kernel, (down, across), (above, beside), (apart, between) = way
    images, rows, places, out = back.shape
    lines = back.reshape(-1, out) @ weight.permute(0, 2, 3, 1).reshape(out, -1)
    lines = lines.reshape(images, rows, places, *kernel, shape[1])
    total = back.new_zeros(images, shape[2] + 2 * above, shape[3] + 2 * beside, shape[1])
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * apart, j * between
            total[:, top : top + down * rows : down, left : left + across * places : across] += lines[:, :, :, i, j]
    return total[:, above : above + shape[2], beside : beside + shape[3]].movedim(-1, 1)


def _straight(way: Way, groups: int) -> bool:
    """Whether NNPACK does it, which has no code made at run time either: filters that go place by place."""
    kernel, stride, padding, dilation = way
    small = all(p < k < 17 for k, p in zip(kernel, padding, strict=True))
    ones = stride == dilation == (1, 1) and kernel != (1, 1)
    return groups == 1 and ones and small and _NNPACK


def _places(size: int, kernel: int, stride: int, dilation: int) -> int:
    return (size - dilation * (kernel - 1) - 1) // stride + 1


def _two(numbers: Sequence[int]) -> Pair:
    return (numbers[0], numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])
