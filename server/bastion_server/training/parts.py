"""People's gradients by the weights of a layer: their norms, and their weighted sum, with bounds of what rounding does to both.

What a part is made of are float32 numbers; what it says is computed in float64 (clipping.py has the argument).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bastion_server.training.columns import ordered

_UNIT = 2.0**-52
#: terms that are added up by one product, in float64
_TOGETHER = 512
#: a rounding of float32; terms that one product of it adds up, from which the most is taken that is exact enough
_HALF = 2.0**-24
_SINGLE = (256, 128, 96, 64, 32)
#: a bound of gradients with which float32 is far from where its numbers end
_USUAL = 2.0**16
#: norms from which on a person adds nothing where sums are in float32
_LARGE = 2.0**60


class Part(Protocol):
    """Each person's gradient by some weights."""

    def sizes(self) -> tuple[Tensor, Tensor]:
        """Return, per person, the squared norm, or a little more, and by how much one time it may make the sum's norm be off.

        Not finite where the gradient is not.
        """

    def weighted(self, factor: Tensor) -> list[tuple[int, Tensor]]:
        """Return the sums over people, each times a factor: (weight, sum), float32 or float64. The factor is 0 of who has what is no number."""


def kept(each: Tensor) -> Tensor:
    """Return people's numbers with 0 for what is none: whose factor is 0 adds nothing then."""
    return each.nan_to_num(0.0, 0.0, 0.0)


def like(flags: Tensor, tensor: Tensor) -> Tensor:
    """Return flags with dimensions behind, as many as the tensor's."""
    return flags.reshape(-1, *[1] * (tensor.dim() - 1))


def size(each: Tensor, dim: int) -> Tensor:
    """Return norms, computed in float64."""
    found: Tensor = torch.linalg.vector_norm(each, dim=dim, dtype=torch.float64)
    return found


def unit(terms: int) -> float:
    """By how much a sum of so many terms may be off, in units of the sum of their sizes."""
    return (terms + 4) * _UNIT


def together(people: int, bound: float, margin: float) -> int:
    """Return how many terms a product of float32 may add up, of so many people; 0: sums are in float64. Of public numbers alone.

    margin: by how much one person may make a sum be off. A person's norm is not made smaller for it: what it is off by is in its limits.
    """
    if margin == math.inf or not 1 / _USUAL <= bound <= _USUAL:
        return 0
    return next((n for n in _SINGLE if bound * single(people, n) <= margin * (1 - 64 * _UNIT)), 0)


def single(people: int, some: int) -> float:
    """By how much a sum in float32 may be off, in units of the sum of the sizes of its terms, where products add up `some` of them."""
    return (min(some, people) + -(-people // some) + 8) * _HALF


def by_pieces(left: Tensor, right: Tensor, some: int) -> Tensor:
    """Return left^T @ right in pieces of so many rows: an entry goes through fewer additions."""
    total: Tensor | None = None
    for a, b in zip(torch.split(left, some), torch.split(right, some), strict=True):
        total = a.mT @ b if total is None else total + a.mT @ b
    assert total is not None
    return total


def _usual(most: Tensor, squared: Tensor) -> Tensor:
    """Return squared norms, infinite of who has numbers that are too large.

    INVARIANT: of numbers that are not, what is too small for float32 is next to nothing (clipping.py).
    """
    return torch.where(most < _LARGE, squared, math.inf)


class Whole:
    """Gradients that are there as numbers, side by side.

    each: people x count, float32. weights: which, the shape of each, and whether numbers are in the order of columns.py.
    some: as `together` says.
    """

    def __init__(
        self, each: Sequence[Tensor], weights: Sequence[tuple[int, tuple[int, ...], bool]], some: int = 0
    ) -> None:
        found = torch.cat(list(each), 1) if len(each) > 1 else each[0]
        self.each, self.some = found if some else found.double(), some
        self.weights, self.counts = weights, [e.shape[1] for e in each]

    def sizes(self) -> tuple[Tensor, Tensor]:  # noqa: D102 - as Part says
        people, count = self.each.shape
        norm = size(self.each, 1)
        # the norm is off by its sum's terms, its root and its square
        squared = norm.square() * (1 + (count + 8) * _UNIT)
        if self.some:
            return _usual(norm, squared), single(people, self.some) * norm
        return squared, unit(people) * norm

    def weighted(self, factor: Tensor) -> list[tuple[int, Tensor]]:  # noqa: D102
        each = kept(self.each)
        total = by_pieces(factor.float()[:, None], each, self.some).squeeze(0) if self.some else factor @ each
        found = torch.split(total, self.counts)
        return [
            (w, ordered(x, shape) if last else x.reshape(shape))
            for (w, shape, last), x in zip(self.weights, found, strict=True)
        ]


@dataclass(frozen=True)
class Single:
    """Gradients of a linear layer of one position: g a^T. given: people x in, back: people x out, float32. some: as `together` says."""

    given: Tensor
    back: Tensor
    weight: int
    some: int

    def sizes(self) -> tuple[Tensor, Tensor]:  # noqa: D102
        a, g = size(self.given, 1), size(self.back, 1)
        norm = a * g
        e = (self.given.shape[1] + self.back.shape[1] + 17) * _UNIT
        most = torch.maximum(torch.maximum(a, g), norm)
        return _usual(most, norm.square() * (1 + e)), single(len(norm), self.some) * norm

    def weighted(self, factor: Tensor) -> list[tuple[int, Tensor]]:  # noqa: D102
        back = kept(self.back) * factor.float()[:, None]
        return [(self.weight, by_pieces(back, kept(self.given), self.some))]


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

    def weighted(self, factor: Tensor) -> list[tuple[int, Tensor]]:  # noqa: D102
        back = (kept(self.back) * factor[:, None, None]).reshape(-1, self.back.shape[2])
        given = kept(self.given).reshape(-1, self.given.shape[2])
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

    def weighted(self, factor: Tensor) -> list[tuple[int, Tensor]]:  # noqa: D102
        back = kept(self.back) * factor[:, None, None]
        total = back.new_zeros(self.shape)
        return [(self.weight, total.index_add_(0, self.index.reshape(-1), back.reshape(-1, back.shape[2])))]
