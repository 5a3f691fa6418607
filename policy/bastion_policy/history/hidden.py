"""Cells whose own number was withheld, as sets of items: thousands of them, each kept once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from bastion_policy.history.sets import Sets

Ints = npt.NDArray[np.int64]
Items = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Hidden:
    """Populations of one item at least, one after the other. items: of each, ascending. ends: where each one's end."""

    items: Items
    ends: Ints

    @classmethod
    def of(cls, populations: Iterable[Items]) -> Hidden:
        """Return some populations, those of nobody left out."""
        found = [items for items in populations if items.size]
        sizes = np.array([items.size for items in found], np.int64)
        return cls(np.concatenate([np.zeros(0, np.int32), *found]).astype(np.int32), np.cumsum(sizes))

    @classmethod
    def cells(cls, sets: Sets) -> Hidden:
        """Return the cells that are looked at, those of nobody left out."""
        if not sets.kept.any():
            return cls.of(())
        cell, items = sets.memberships
        sizes = np.bincount(cell, minlength=sets.count)
        return cls(items, np.cumsum(sizes[sizes > 0]))

    def __len__(self) -> int:
        """Return how many there are."""
        return self.ends.size

    def __iter__(self) -> Iterator[Items]:
        """Iterate over their items."""
        return iter(np.split(self.items, self.ends[:-1]) if self.ends.size else ())

    @cached_property
    def sizes(self) -> Ints:
        """Items of each."""
        return np.diff(self.ends, prepend=0)

    @property
    def starts(self) -> Ints:
        """Where the items of each begin."""
        return self.ends - self.sizes

    def plus(self, more: Hidden, room: int) -> Hidden:
        """Return them with those of `more` that are not among them, as far as there is room for so many items."""
        every = Hidden(np.concatenate([self.items, more.items]), np.append(self.ends, more.ends + self.items.size))
        _, first, at = np.unique(every._marks, return_index=True, return_inverse=True)
        new = np.arange(len(every)) >= len(self)
        again = np.flatnonzero(new & (first[at] < np.arange(len(every))))
        new[again[every._same(again, first[at[again]])]] = False
        if int(every.sizes[new].sum()) > room:
            for one in np.flatnonzero(new).tolist():
                new[one] = every.sizes[one] <= room
                room -= int(every.sizes[one]) if new[one] else 0
        new[: len(self)] = True
        sizes = every.sizes[new]
        return Hidden(every.items[np.repeat(new, every.sizes)], np.cumsum(sizes))

    @cached_property
    def _marks(self) -> npt.NDArray[np.uint64]:
        """Numbers that are the same for the same populations, and hardly ever for others."""
        if not self.items.size:
            return np.zeros(0, np.uint64)
        with np.errstate(over="ignore"):
            mixed = (self.items.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
            mixed *= np.uint64(0xBF58476D1CE4E5B9)
            mixed ^= mixed >> np.uint64(32)
            return np.asarray(np.add.reduceat(mixed, self.starts))

    def _same(self, ones: Ints, others: Ints) -> npt.NDArray[np.bool_]:
        """Return which of some pairs of populations are the same. INVARIANT: item by item, whatever their marks say."""
        same = self.sizes[ones] == self.sizes[others]
        ones, others, which = ones[same], others[same], np.flatnonzero(same)
        sizes = self.sizes[ones]
        turn = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        here, there = (self.items[np.repeat(self.starts[some], sizes) + turn] for some in (ones, others))
        differ = np.bincount(np.repeat(which, sizes), here != there, same.size)
        return np.asarray(same & (differ == 0))
