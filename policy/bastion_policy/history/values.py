"""Populations of values: whose, and which; for tables in which people have several rows.

A sum of somebody's rows tells no more of one of these rows than of another with the same value. So two populations without a row
in common may differ in one person's value: this month's salaries and last month's, the first and the last of something,
a number per person that was made of different rows. Where people have several rows, or rows repeat, populations are therefore
also compared as *values*: an item is a person, a value, and a number, for a person may be in with the same value several
times. Two populations that hold the same values of all but a few people are near, whichever rows they come from.

INVARIANT: items are numbered once and for all per channel, from hashes of the person and of the value; the same value asked by
another expression has the same number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from bastion_policy.history.roster import Hashes, Items, mixed
from bastion_policy.history.sets import Flags, Ints, Sets

#: items of one channel; what would need more is not told
MOST_VALUES = 1 << 25
#: sets without a value in common, into which the cells of one question are put, and cells that are put there
MOST_PACKS, MOST_PACKED = 256, 4096


@dataclass(frozen=True, eq=False)
class Values:
    """The items of one channel. Never changed in place.

    keys: what identifies an item, sorted. order: the item of each key. unit: per item, a hash of whose it is.
    """

    keys: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))
    order: Items = field(default_factory=lambda: np.zeros(0, np.int32))
    unit: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))

    @property
    def size(self) -> int:
        """The number of items."""
        return self.unit.size

    @cached_property
    def owner(self) -> Ints:
        """Whose each item is, as small whole numbers that stay the same."""
        _, first, at = np.unique(self.unit, return_index=True, return_inverse=True)
        number = np.empty(first.size, np.int64)
        number[np.argsort(first)] = np.arange(first.size)
        return number[at]

    @cached_property
    def most(self) -> int:
        """Items per person, at most."""
        return int(np.bincount(self.owner).max()) if self.size else 1

    def entered(self, unit: Hashes, key: Hashes) -> tuple[Values, Items]:
        """Return the values with some in them, and the item of each. key: what identifies it."""
        fresh, at = np.unique(key, return_index=True)
        if self.size:
            place = np.minimum(np.searchsorted(self.keys, fresh), self.size - 1)
            new = self.keys[place] != fresh
            fresh, at = fresh[new], at[new]
        if not fresh.size:
            return self, self._items(key)
        # in the order in which they are met
        turn = np.argsort(np.argsort(at, kind="stable"), kind="stable")
        keys = np.concatenate([self.keys, fresh])
        order = np.concatenate([self.order, (self.size + turn).astype(np.int32)])
        units = np.concatenate([self.unit, unit[np.sort(at)]])
        sort = np.argsort(keys, kind="stable")
        more = Values(keys[sort], order[sort], units)
        return more, more._items(key)

    def _items(self, key: Hashes) -> Items:
        return self.order[np.searchsorted(self.keys, key)]


def keyed(cell: Ints, unit: Hashes, value: Hashes) -> Hashes:
    """Return what identifies each value of a person in a cell: the same one several times is told apart by its number."""
    whose = mixed(unit ^ mixed(value))
    with np.errstate(over="ignore"):
        here = whose + mixed(cell.astype(np.uint64))
    order = np.argsort(here, kind="stable")
    ordered = here[order]
    first = np.ones(here.size, bool)
    first[1:] = ordered[1:] != ordered[:-1]
    if first.all():
        return whose
    starts = np.maximum.accumulate(np.where(first, np.arange(here.size), 0))
    turn = np.empty(here.size, np.uint64)
    turn[order] = (np.arange(here.size) - starts).astype(np.uint64)
    return np.where(turn == 0, whose, mixed(whose ^ mixed(turn)))


def packs(sets: Sets, flags: Flags) -> list[tuple[Flags, Sets]]:
    """Return the flagged cells as sets of cells without an item in common; those that do not fit are left out."""
    if sets.disjoint:
        return [(flags, sets)]
    top = int(sets.memberships[1].max(initial=0)) + 1
    taken: list[Flags] = []
    places: list[list[int]] = []
    for cell in np.flatnonzero(flags & (sets.sizes > 0))[:MOST_PACKED].tolist():
        items = sets.members(cell)
        number = next((i for i, used in enumerate(taken) if not used[items].any()), len(taken))
        if number == len(taken):
            if number == MOST_PACKS:
                continue
            taken.append(np.zeros(top, bool))
            places.append([])
        taken[number][items] = True
        places[number].append(cell)
    return [(_flagged(found, flags.size), _of(sets, found)) for found in places]


def _flagged(cells: Sequence[int], count: int) -> Flags:
    found = np.zeros(count, bool)
    found[np.asarray(cells, np.int64)] = True
    return found


def _of(sets: Sets, cells: Sequence[int]) -> Sets:
    items = [sets.members(cell) for cell in cells]
    numbers = np.repeat(np.asarray(cells, np.int64), [found.size for found in items])
    return Sets.of(sets.count, numbers, np.concatenate(items))
