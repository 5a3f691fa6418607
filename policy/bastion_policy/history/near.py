"""Which stored partitions may hold a population near an asked one, or around or inside it: found by a few atoms of each.

Counting what two populations have in common takes a pass over all atoms that the question meets, and after a thousand releases
there are a thousand partitions. Most of them need no count:

1. *Near* (fewer than w items apart). Of an asked population, fewer than w items lie outside a near one. So of its largest
   atoms, as many as hold w items, one at least lies inside the near one; and of as many as hold W items, more than W - w items do.
   And their sizes are fewer than w apart.
2. *Around*. All atoms of the asked population lie inside; a few of them are looked at.
3. *Inside*. All atoms of the stored population lie in the asked one, whole; a few of them are looked at.

INVARIANT: a partition is left out only where one of these conditions fails for every pair, so no near pair is ever missed; what is
not left out is counted exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Items = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
#: atoms that stand for a stored population
STANDING = 4
#: atoms that stand for an asked population, where one is sought around it
LOOKED_AT = 6
#: items that are looked at, as a multiple of those that may differ
WIDER = 4
#: entries that are looked up at once
CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class Cells:
    """Stored populations, one by one, in the order of their partitions.

    start: per partition, where its cells begin. size: items of each. some: (cells x STANDING) atoms inside each; 0 for empty cells.
    """

    start: Ints
    size: Ints
    some: Items

    @classmethod
    def none(cls) -> Cells:
        """Return those of no partition."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, STANDING), np.int32))

    @classmethod
    def of(cls, parts: Items, sizes: Ints) -> Cells:
        """Return those of partitions. parts: (partitions x atoms) the cell of each atom, -1 for none. sizes: items per atom."""
        found = [cls.none().plus(row, sizes) for row in parts]
        start = np.cumsum([0, *(one.size.size for one in found)])[:-1].astype(np.int64)
        empty = cls.none()
        return cls(
            start,
            np.concatenate([empty.size, *(one.size for one in found)]),
            np.concatenate([empty.some, *(one.some for one in found)]),
        )

    def plus(self, row: Items, sizes: Ints) -> Cells:
        """Return them with those of one more partition. row: the cell of each atom. sizes: items per atom."""
        inside = np.flatnonzero(row >= 0)
        cells = row[inside]
        size = np.bincount(cells, sizes[inside]).astype(np.int64)
        some = np.zeros((size.size, STANDING), np.int32)
        for turn in range(STANDING):
            # the last writer stays: the first and the last atom of each cell, and those first and last of a half
            half = inside if turn < 2 else inside[inside.size // 2 :] if turn == 2 else inside[: inside.size // 2]
            if turn >= 2:
                some[:, turn] = some[:, 0]
            order = half if turn % 2 else half[::-1]
            some[row[order], turn] = order
        start = np.append(self.start, self.size.size)
        return Cells(start, np.append(self.size, size), np.concatenate([self.some, some]))

    def renumbered(self, parent: Ints, atoms: int) -> Cells:
        """Return them after atoms were split. parent: the old number of each new atom, ascending. atoms: old ones."""
        first = np.searchsorted(parent, np.arange(atoms)).astype(np.int32)
        return Cells(self.start, self.size, first[self.some]) if self.some.size else self


def close(parts: Items, held: Cells, cell: Ints, atom: Ints, size: Ints, sizes: Ints, within: int) -> Ints:
    """Return the partitions that may hold a population with fewer than `within` items apart from an asked one, and one in common.

    parts: (partitions x atoms). cell, atom, size: how many items of an atom are in an asked cell. sizes: items per asked cell.
    """
    largest = int(size.max(initial=0))
    order = np.argsort(cell.astype(np.int64) * (largest + 1) + (largest - size))
    cell, atom, size = cell[order], atom[order], size[order]
    first = np.searchsorted(cell, cell)
    before = np.cumsum(size) - size
    before -= before[first]
    turn = np.arange(cell.size) - first
    wide = before < WIDER * within
    cell, atom, size, turn, before = (part[wide] for part in (cell, atom, size, turn, before))
    # the atoms that are looked at of each cell, as a table, and how many items are in them
    begin = np.searchsorted(cell, np.arange(sizes.size))
    looked = np.bincount(cell, size, sizes.size).astype(np.int64)
    narrow = np.flatnonzero(before < within)
    found = np.zeros(parts.shape[0], bool)
    step = max(1, CHUNK // max(1, narrow.size))
    for low in range(0, parts.shape[0], step):
        there = parts[low : low + step, atom[narrow]]
        # a cell of a partition that is not the last has its size before that of the next partition's
        theirs = held.size[np.maximum(there, 0) + held.start[low : low + step, None]]
        part, at = np.nonzero((there >= 0) & (np.abs(theirs - sizes[cell[narrow]]) < within))
        # INVARIANT: of the items that are looked at, all but fewer than `within` are in a population so near
        stored, asked = there[part, at], cell[narrow[at]]
        part += low
        unsure = ~found[part]
        part, stored, asked = part[unsure], stored[unsure], asked[unsure]
        inside = np.zeros(part.size, np.int64)
        left = np.arange(part.size)
        for number in range(int(turn.max(initial=-1)) + 1):
            place = begin[asked[left]] + number
            more = (place < cell.size) & (cell[np.minimum(place, cell.size - 1)] == asked[left])
            left, place = left[more], place[more]
            if not left.size:
                break
            inside[left] += np.where(parts[part[left], atom[place]] == stored[left], size[place], 0)
        found[part[inside > looked[asked] - within]] = True
    return np.flatnonzero(found)


def around(parts: Items, held: Cells, cell: Ints, atom: Ints, size: Ints, sizes: Ints, items: Ints) -> Ints:
    """Return the partitions that may hold a population around an asked one, or inside it; of disjoint asked ones.

    parts, cell, atom, size, sizes: as in `close`. items: per atom.
    """
    found = np.zeros(parts.shape[0], bool)
    whole = np.full(items.size, -1, np.int64)
    every = size == items[atom]
    whole[atom[every]] = cell[every]
    if held.some.size:
        inside = whole[held.some]
        within = (inside[:, 0] >= 0) & (inside == inside[:, :1]).all(axis=1) & (held.size > 0)
        within &= held.size <= sizes[np.maximum(inside[:, 0], 0)]
        found[np.searchsorted(held.start, np.flatnonzero(within), side="right") - 1] = True
    order = np.argsort(cell, kind="stable")
    cell, atom = cell[order], atom[order]
    cells = cell[np.append(True, cell[1:] != cell[:-1])] if cell.size else cell
    begin, end = np.searchsorted(cell, cells), np.searchsorted(cell, cells, side="right")
    chosen = begin[:, None] + ((end - begin)[:, None] * np.arange(LOOKED_AT)) // LOOKED_AT
    some, mine = atom[chosen], sizes[cells]
    open_ = np.flatnonzero(~found)
    step = max(1, CHUNK // max(1, some.size))
    for low in range(0, open_.size, step):
        part = open_[low : low + step]
        there = parts[part][:, some[:, 0]]
        holds = there >= 0
        holds &= held.size[np.maximum(there, 0) + held.start[part, None]] >= mine
        for number in range(1, LOOKED_AT):
            if not holds.any():
                break
            which, at = np.nonzero(holds)
            holds[which, at] = parts[part[which], some[at, number]] == there[which, at]
        found[part[holds.any(axis=1)]] = True
    return np.flatnonzero(found)
