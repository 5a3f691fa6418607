"""Order statistics from their definition: values cut at public edges into pieces that hold enough people.

Edges are multiples of 1, 2 and 5 times a power of ten (of a hundredth of the range between bounds; mirrored below zero, of
two significant digits, nought by itself). They are tried from coarse to fine and from low to high; one becomes a cut if what
lies between the cuts beside it is enough on either side. A piece is shown as its narrowest and lowest 1, 2, 3, 5 or 7 cells
of a power of ten that hold enough, as far as they lie in the piece.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

Enough = Callable[[Sequence[int]], bool]


@dataclass(frozen=True)
class Bin:
    """The finest cell of a value: sign * digits * 10 ** power, or a whole number of steps (power 0)."""

    digits: int
    power: int
    whole: bool

    @property
    def size(self) -> Fraction:
        return abs(self.digits) * Fraction(10) ** self.power

    @property
    def value(self) -> Fraction:
        return self.digits * Fraction(10) ** self.power

    def cell(self, width: Fraction) -> int | None:
        """The number of its cell of a width, from -1 downwards below zero; None where it reaches over several."""
        if self.whole:
            return math.floor(self.value / width)
        if self.digits and width < Fraction(10) ** self.power:
            return None
        return math.floor(self.size / width) if self.digits >= 0 else -math.floor(self.size / width) - 1


@dataclass(frozen=True)
class Piece:
    """Rows from `begin` to `end` of the sorted ones, shown as `middle`; its people are those of the rows `inside`."""

    begin: int
    end: int
    middle: float
    inside: tuple[int, ...]


def fine(x: float, bounds: tuple[float, float] | None, *, days: bool) -> Bin:
    """The finest cell of a value."""
    if bounds is not None:
        step = (bounds[1] - bounds[0]) / 100
        return Bin(min(99, max(0, math.floor((x - bounds[0]) / step))), 0, whole=True)
    if days:
        return Bin(math.floor(x), 0, whole=True)
    if x == 0:
        return Bin(0, 0, whole=False)
    size = abs(Decimal(repr(+x)))  # a yes is 1
    power = size.adjusted() - 1
    digits = math.floor(size.scaleb(-power) + Decimal("1e-9"))
    if digits >= 100:
        digits, power = digits // 10, power + 1
    return Bin(digits if x > 0 else -digits, power, whole=False)


def pieces(
    numbers: dict[int, float], enough: Enough, bounds: tuple[float, float] | None, *, integers: bool, days: bool
) -> list[Piece]:
    """The pieces of some rows' values, in order; none where all together are not enough."""
    bins: dict[Bin, list[int]] = {}
    for row, x in numbers.items():
        bins.setdefault(fine(x, bounds, days=days), []).append(row)
    line = sorted(bins, key=lambda b: b.value)
    if not enough(list(numbers)):
        return []

    def rows(begin: int, end: int) -> list[int]:
        return [r for b in line[begin:end] for r in bins[b]]

    lowest = min((b.power for b in line if b.digits), default=0)
    highest = max(b.power for b in line) + 3
    if bounds is not None or days:
        lowest, highest = 0, len(str(max(abs(b.digits) for b in line) + 1)) + 1
    powers = [Fraction(10) ** p for p in range(lowest, highest)]
    edges: dict[int, tuple[Fraction, Fraction]] = {}
    for i in range(1, len(line)):
        one, two = line[i - 1], line[i]
        if not one.whole and ((one.digits < 0) != (two.digits < 0) or 0 in (one.digits, two.digits)):
            edges[i] = Fraction(10) ** 400, Fraction(0)
            continue
        for width in (f * p for p in powers for f in (1, 2, 5)):
            first, second = one.cell(width), two.cell(width)
            if first is not None and second is not None and first != second:
                edges[i] = width, (first + 1 if not one.whole and two.digits < 0 else second) * width
    cuts = {0, len(line)}
    for i in sorted(edges, key=lambda i: (-edges[i][0], i)):
        left, right = max(c for c in cuts if c <= i), min(c for c in cuts if c >= i)
        if enough(rows(left, i)) and enough(rows(i, right)):
            cuts.add(i)
    found, before = [], 0
    for begin, end in zip(sorted(cuts), sorted(cuts)[1:], strict=False):
        low = edges[begin][1] if begin else None
        high = edges[end][1] if end < len(line) else None
        count = len(rows(begin, end))
        for a, b, inside in _runs(line[begin:end], powers):
            held = [r for x in inside for r in bins[x]]
            if enough(held):
                ends = (a if low is None else max(a, low)), (b if high is None else min(b, high))
                middle = _middle(*map(float, ends), bounds, integers=integers, days=days)
                found.append(Piece(before, before + count, middle, tuple(held)))
                break
        before += count
    return found


def _runs(line: Sequence[Bin], powers: Sequence[Fraction]) -> Iterator[tuple[Fraction, Fraction, list[Bin]]]:
    """Intervals from narrow to wide and from low to high, with the bins inside."""
    if not line[0].whole and any(not b.digits for b in line):
        yield Fraction(0), Fraction(0), [b for b in line if not b.digits]
    for width in powers:
        cells = {b: c for b in line if (c := b.cell(width)) is not None}
        for count in (1, 2, 3, 5, 7):
            for last in sorted(set(cells.values())):
                first = last - count + 1
                yield first * width, (last + 1) * width, [b for b, c in cells.items() if first <= c <= last]


def _middle(low: float, high: float, bounds: tuple[float, float] | None, *, integers: bool, days: bool) -> float:
    if bounds is not None:
        middle = bounds[0] + (bounds[1] - bounds[0]) / 100 * (low + high) / 2
        return float(round(middle)) if integers else middle
    if days:
        return float(math.floor((low + max(high - 1, low)) / 2))
    if integers:
        low, high = (min(low + 1, high) if low < 0 else low), (max(high - 1, low) if high > 0 else high)
    return (low + high) / 2
