"""Populations that are asked about at once, as sets of items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from bastion_policy.audit import Row
from bastion_policy.audit.atoms import Met, summed

Ints = npt.NDArray[np.int64]
Items = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
#: sets without an item in common, into which cells that share items are put, and cells that are put there
MOST_PACKS, MOST_PACKED = 256, 4096


@lru_cache(maxsize=2)
def zeros(size: int) -> Items:
    """Return so many zeros, the same each time; nobody may write into them."""
    found = np.zeros(size, np.int32)
    found.flags.writeable = False
    return found


@dataclass(frozen=True, eq=False)
class Sets:
    """Populations 0 to count - 1.

    place: the cell of each item, -1 for none; None where cells share items. pairs: (cell, item) then, ordered, each once.
    kept: cells that are looked at; the others count as empty. lone: cells in which no two items are one person's, as far as known.
    """

    count: int
    place: Items | None
    kept: Flags
    pairs: tuple[Ints, Items] | None = None
    _crossed: list[tuple[Items, Met]] = field(default_factory=list, repr=False)
    lone: Flags | None = None
    _united: list[tuple[Flags, Sets]] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, count: int, cell: npt.ArrayLike, item: npt.ArrayLike, size: int = 0) -> Sets:
        """Return the sets of some memberships, in any order, repeated ones once. size: items that there are, if known."""
        cells, items = np.asarray(cell), np.asarray(item)
        every = np.ones(count, bool)
        if not items.size:
            return cls(count, np.full(size, -1, np.int32), every)
        # ascending items are each there once
        once = bool((items[1:] > items[:-1]).all())
        if once and items.size == size == int(items[-1]) + 1 and not items[0]:
            return cls(count, cells.astype(np.int32), every)
        place = np.full(max(size, int(items.max()) + 1), -1, np.int32)
        place[items] = cells
        once = once or np.count_nonzero(place >= 0) == items.size
        if once or bool((place[items] == cells).all()):
            return cls(count, place, every)
        top = place.size
        code = np.sort(cells.astype(np.int64) * top + items)
        code = code[np.append(True, np.diff(code) > 0)]
        return cls(count, None, every, (code // top, (code % top).astype(np.int32)))

    @classmethod
    def one(cls, items: npt.ArrayLike, size: int = 0) -> Sets:
        """Return one set."""
        found = np.asarray(items)
        return cls.of(1, np.zeros(found.size, np.int32), found, size)

    @classmethod
    def everybody(cls, size: int) -> Sets:
        """Return all of so many items as one set."""
        return cls(1, zeros(size), np.ones(1, bool))

    @property
    def disjoint(self) -> bool:
        """Whether no item is in two cells."""
        return self.place is not None

    @cached_property
    def sizes(self) -> Ints:
        """Items per cell."""
        if self.place is None:
            assert self.pairs is not None
            counts = np.bincount(self.pairs[0], minlength=self.count)
        elif self._crossed:
            found = self._crossed[-1][1]
            counts = np.bincount(found.cell + 1, found.size, self.count + 1)[1:].astype(np.int64)
        elif self.count == 1:
            counts = np.array([np.count_nonzero(self.place >= 0)], np.int64)
        else:
            counts = summed(self.place + np.int32(1), None, self.count + 1)[1:].astype(np.int64)
        return np.where(self.kept, counts, 0)

    @cached_property
    def memberships(self) -> tuple[Ints, Items]:
        """(cell, item), ordered by both."""
        if self.place is None:
            assert self.pairs is not None
            inside = self.kept[self.pairs[0]]
            return self.pairs[0][inside], self.pairs[1][inside]
        items = np.flatnonzero(np.append(self.kept, False)[self.place]).astype(np.int32)
        cells = self.place[items]
        order = ordered(cells, self.count)
        return cells[order].astype(np.int64), items[order]

    def members(self, cell: int) -> Items:
        """Return the items of one cell, ascending."""
        if self.place is not None and self.count == 1 and self.kept[0]:
            return np.flatnonzero(self.place == cell).astype(np.int32)
        return self.memberships[1][self._starts[cell] : self._starts[cell + 1]]

    @cached_property
    def _starts(self) -> list[int]:
        """Where in `memberships` each cell begins, and the end."""
        counts = np.bincount(self.memberships[0], minlength=self.count)
        starts: list[int] = np.append(0, np.cumsum(counts)).tolist()
        return starts

    def rows(self, cells: Sequence[int] | Ints) -> list[Row]:
        """Return the audit's rows of some cells."""
        return [Row(self.members(int(cell)).astype(np.int64)) for cell in cells]

    def union(self, cells: npt.ArrayLike) -> Sets:
        """Return some cells as one."""
        chosen = np.zeros(self.count + 1, bool)
        chosen[np.asarray(cells, np.int64)] = True
        chosen[:-1] &= self.kept
        if self.place is None:
            cell, item = self.memberships
            return Sets.one(item[chosen[cell]])
        for known, found in self._united:
            # the remainder is looked for, entered and told of
            if np.array_equal(known, chosen):
                return found
        one = np.where(chosen, np.int32(0), np.int32(-1))
        self._united[:] = [(chosen, Sets(1, one[self.place], np.ones(1, bool)))]
        return self._united[0][1]

    def where(self, flags: Flags) -> Sets:
        """Return the sets with the cells that are not flagged empty."""
        if bool((flags | ~self.kept).all()):
            return self
        return Sets(self.count, self.place, self.kept & flags, self.pairs, self._crossed, self.lone)

    def apart(self, lone: Flags) -> Sets:
        """Return the sets with it known in which cells no two items are one person's."""
        return Sets(self.count, self.place, self.kept, self.pairs, self._crossed, lone)

    def covered(self, size: int) -> Flags:
        """Return which of so many items are in a cell that is looked at."""
        found = np.zeros(size, bool)
        if self.place is None:
            found[self.memberships[1]] = True
        else:
            found[: self.place.size] = np.append(self.kept, False)[self.place]
        return found

    def among(self, items: npt.ArrayLike) -> Sets:
        """Return the sets with none but some items in them."""
        cells, mine = self.memberships
        inside = np.isin(mine, np.asarray(items))
        return Sets.of(self.count, cells[inside], mine[inside], self.place.size if self.place is not None else 0)

    def crossed(self, labels: Items, atoms: int) -> Met:
        """Return how all cells meet atoms, whether they are looked at or not; of disjoint sets. labels: the atom of each item."""
        assert self.place is not None
        for known, found in self._crossed:
            if known is labels or (atoms == 1 and found.at.size == labels.size and not found.atom.any()):
                return found
        place = self.place
        if place.size < labels.size:
            place = np.append(place, np.full(labels.size - place.size, -1, np.int32))
        sizes = self.sizes if "sizes" in vars(self) and bool(self.kept.all()) else None
        found = Met.of(labels, atoms, place, self.count, sizes)
        self._crossed[:] = [*self._crossed[-2:], (labels, found)]
        return found


def ordered(cells: npt.NDArray[Any], count: int) -> Ints:
    """Return the order of cells (0 to count - 1), equal ones in theirs: numbers of 16 bits are sorted by counting."""
    low = cells.astype(np.uint16)
    order = np.argsort(low, kind="stable")
    if count <= 1 << 16:
        return order
    high = (cells >> 16).astype(np.uint16)[order]
    return np.asarray(order[np.argsort(high, kind="stable")])


def together(parts: Sequence[Sets]) -> Sets:
    """Return cells of a table that is stacked as one: who is in either part."""
    if len(parts) == 1:
        return parts[0]
    cells, items = (np.concatenate(both) for both in zip(*(one.memberships for one in parts), strict=True))
    return Sets.of(parts[0].count, cells, items)


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
