"""People's gradients by the weights of a layer: their norms, and their weighted sum, with bounds of what rounding does to both.

What a part is made of are float32 numbers; what it says is computed in float64 (clipping.py has the argument).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bastion_server.training.columns import ordered

_UNIT = 2.0**-52
#: terms that are added up by one product
_TOGETHER = 512


class Part(Protocol):
    """Each person's gradient by some weights."""

    def sizes(self) -> tuple[Tensor, Tensor]:
        """Return, per person, the squared norm, or a little more, and by how much one time it may make the sum's norm be off.

        Not finite where the gradient is not.
        """

    def weighted(self, factor: Tensor, fine: Tensor) -> list[tuple[int, Tensor]]:
        """Return the sums over people, each times a factor: (weight, sum). fine: as in `kept`."""


def kept(each: Tensor, fine: Tensor) -> Tensor:
    """Return people's numbers, 0 for those that are no numbers, in their place. fine: who has numbers."""
    return each.masked_fill_(like(~fine, each), 0)


def like(flags: Tensor, tensor: Tensor) -> Tensor:
    """Return flags with dimensions behind, as many as the tensor's."""
    return flags.reshape(-1, *[1] * (tensor.dim() - 1))


def unit(terms: int) -> float:
    """By how much a sum of so many terms may be off, in units of the sum of their sizes."""
    return (terms + 4) * _UNIT


class Whole:
    """Gradients that are there as numbers, side by side.

    each: people x count, float32. weights: which, the shape of each, and whether numbers are in the order of columns.py.
    """

    def __init__(self, each: Sequence[Tensor], weights: Sequence[tuple[int, tuple[int, ...], bool]]) -> None:
        self.each = (torch.cat(list(each), 1) if len(each) > 1 else each[0]).double()
        self.weights, self.counts = weights, [e.shape[1] for e in each]

    def sizes(self) -> tuple[Tensor, Tensor]:  # noqa: D102 - as Part says
        norm = self.each.norm(dim=1)
        # the norm is off by its sum's terms, its root and its square
        return norm.square() * (1 + (self.each.shape[1] + 8) * _UNIT), unit(self.each.shape[0]) * norm

    def weighted(self, factor: Tensor, fine: Tensor) -> list[tuple[int, Tensor]]:  # noqa: D102
        found = torch.split(factor @ kept(self.each, fine), self.counts)
        return [
            (w, ordered(x, shape) if last else x.reshape(shape))
            for (w, shape, last), x in zip(self.weights, found, strict=True)
        ]


@dataclass(frozen=True)
class Positions:
    """Gradients of a linear layer: g a^T, added up over positions. given: people x positions x in, back: people x positions x out."""

    given: Tensor
    back: Tensor
    weight: int
    shape: tuple[int, ...]

    def sizes(self) -> tuple[Tensor, Tensor]:  # noqa: D102
        positions, (out, into) = self.given.shape[1], self.shape
        e = (into + out + positions**2 + 16) * _UNIT
        terms = self.back.shape[0] * positions
        one = unit(terms if terms <= 2 * _TOGETHER else _TOGETHER + -(-terms // _TOGETHER))
        # of each position, the norm of its part
        apart = self.given.norm(dim=2) * self.back.norm(dim=2)
        if positions == 1:
            found = apart.squeeze(1)
            return found.square() * (1 + e), one * found
        if positions * (into + out) <= into * out:
            total = ((self.given @ self.given.mT) * (self.back @ self.back.mT)).sum((1, 2))
        else:
            total = (self.back.mT @ self.given).square().sum((1, 2))
            e += (into * out + positions) * _UNIT
        bound = apart.sum(1)
        return total.clamp(min=0) + e * bound.square(), one * bound

    def weighted(self, factor: Tensor, fine: Tensor) -> list[tuple[int, Tensor]]:  # noqa: D102
        back = (kept(self.back, fine) * factor[:, None, None]).reshape(-1, self.back.shape[2])
        given = kept(self.given, fine).reshape(-1, self.given.shape[2])
        if len(back) <= 2 * _TOGETHER:
            return [(self.weight, back.mT @ given)]
        # sums of sums: an entry goes through fewer additions
        total = back.new_zeros(self.shape)
        for g, a in zip(torch.split(back, _TOGETHER), torch.split(given, _TOGETHER), strict=True):
            total += g.mT @ a
        return [(self.weight, total)]


@dataclass(frozen=True)
class Words:
    """Gradients of a table of vectors. index: people x positions, back: people x positions x size."""

    index: Tensor
    back: Tensor
    weight: int
    shape: tuple[int, ...]

    def sizes(self) -> tuple[Tensor, Tensor]:  # noqa: D102
        same = self.index[:, :, None] == self.index[:, None, :]
        gram = self.back @ self.back.mT
        found = torch.where(same, gram, torch.zeros_like(gram)).sum((1, 2))
        e = (self.shape[1] + self.index.shape[1] ** 2 + 8) * _UNIT
        bound = self.back.norm(dim=2).sum(1)
        return found.clamp(min=0) + e * bound.square(), unit(self.back.shape[0] * self.back.shape[1]) * bound

    def weighted(self, factor: Tensor, fine: Tensor) -> list[tuple[int, Tensor]]:  # noqa: D102
        back = kept(self.back, fine) * factor[:, None, None]
        total = back.new_zeros(self.shape)
        return [(self.weight, total.index_add_(0, self.index.reshape(-1), back.reshape(-1, back.shape[2])))]
