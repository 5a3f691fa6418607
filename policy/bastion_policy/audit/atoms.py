"""Atoms: classes of units that no row tells apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bastion_policy.audit.primes import Floats
from bastion_policy.audit.rows import Row, Units

Labels = npt.NDArray[np.int32]


#: codes that are counted in a table rather than sorted: entries of the table per item
MOST_SPREAD = 8
#: numbers that are looked at together
PIECE = 1 << 17


def summed(place: npt.NDArray[Any], values: Floats | None, count: int) -> Floats:
    """Return what comes together in each of so many places (values None: how many), piece by piece."""
    found = np.zeros(count)
    for some in _pieces(place.size, count):
        found += np.bincount(place[some], None if values is None else values[some], count)
    return found


def numbered(code: Units, top: int) -> tuple[Units, Units]:
    """Return the distinct codes (0 <= code < top), ascending, and which of them each code is."""
    if top > MOST_SPREAD * max(code.size, 1024):
        return np.unique(code, return_inverse=True)
    there = np.zeros(top, bool)
    there[code] = True
    codes = np.flatnonzero(there)
    number = np.zeros(top, np.int64)
    number[codes] = np.arange(codes.size)
    return codes, number[code]


def _pieces(size: int, count: int) -> list[slice]:
    """Return slices of so many numbers, each of which stays in the processor's cache; one where much is kept of each."""
    piece = PIECE if count <= PIECE // 4 else max(size, 1)
    return [slice(start, start + piece) for start in range(0, size, piece)]


@dataclass(frozen=True, slots=True, eq=False)
class Met:
    """How atoms and cells meet: `size[i]` units are in atom `atom[i]` and cell `cell[i]` (-1: in none).

    Ordered by atom and cell, each pair that occurs once. at: of each unit, which pair it is in.
    """

    atom: Units
    cell: Units
    size: Units
    at: Labels

    @classmethod
    def of(cls, labels: Labels, atoms: int, place: Labels, count: int, sizes: Units | None = None) -> Met:
        """Return how they meet. labels: the atom of each unit, of so many. place: its cell, -1 for none, of so many.

        sizes: units per cell, where they are known.
        """
        width, pairs = count + 1, atoms * (count + 1)
        if count == 1 and int(place.min(initial=0)) == 0:
            # everybody is in the only cell
            every = np.bincount(labels, minlength=atoms) if atoms > 1 else np.array([labels.size], np.int64)
            there = np.flatnonzero(every)
            if there.size == atoms:
                return cls(there, np.zeros(atoms, np.int64), every, labels)
        if atoms == 1 and count <= place.size and place.dtype == np.int32 and int(place.min(initial=0)) == 0:
            sizes = summed(place, None, count).astype(np.int64) if sizes is None else sizes
            if sizes.all():
                # all are one atom, and each is in some cell: pairs are cells
                return cls(np.zeros(count, np.int64), np.arange(count), sizes, place)
        if pairs > MOST_SPREAD * max(labels.size, 1024):
            long: npt.NDArray[Any] = np.multiply(labels, width, dtype=np.int64) + place + 1
            pair, found, both = np.unique(long, return_inverse=True, return_counts=True)
            pair = pair.astype(np.int64)
            return cls(pair // width, pair % width - 1, both, found.astype(np.int32))
        at: npt.NDArray[Any] = np.empty(labels.size, np.int32 if pairs < 1 << 31 else np.int64)
        counts = np.zeros(pairs, np.int64)
        for some in _pieces(at.size, pairs):
            code = at[some]
            if atoms == 1:
                np.add(place[some], 1, out=code)
            else:
                np.multiply(labels[some], width, out=code)
                np.add(code, place[some], out=code)
                np.add(code, 1, out=code)
            counts += np.bincount(code, minlength=pairs)
        codes = np.flatnonzero(counts)
        if codes.size < pairs:
            number = np.zeros(pairs, np.int32)
            number[codes] = np.arange(codes.size, dtype=np.int32)
            for some in _pieces(at.size, pairs):
                at[some] = number[at[some]]
        return cls(codes // width, codes % width - 1, counts[codes], at.astype(np.int32, copy=False))

    def merged(self, cell: Units) -> Met:
        """Return how atoms meet other cells, each of which is one or several of these. cell: of each pair, the other cell."""
        if bool((cell == self.cell).all()):
            return self
        width = int(cell.max(initial=-1)) + 2
        code, number = numbered(self.atom * width + cell + 1, (int(self.atom.max(initial=-1)) + 1) * width)
        size = np.bincount(number, self.size, code.size).astype(np.int64)
        return Met(code // width, code % width - 1, size, number.astype(np.int32)[self.at])


@dataclass(frozen=True, slots=True, eq=False)
class Atoms:
    """The atom of each unit (`labels`, int32) and the units of each atom (`sizes`, int64). Never changed in place."""

    labels: Labels
    sizes: Units

    @classmethod
    def whole(cls, units: int) -> Atoms:
        """Return one atom of all units."""
        return cls(np.zeros(units, np.int32), np.array([units] if units else [], np.int64))

    def split(self, rows: Sequence[Row], most: int) -> tuple[Atoms, Units] | None:
        """Return the atoms that `rows` leave, with the old atom of each; None: there would be more than `most`.

        The first part of an atom keeps its number; new atoms are appended, so old numbers stay valid as parents.
        """
        labels, sizes = self.labels, self.sizes
        parent = np.arange(sizes.size)
        for row in rows:
            if not row.units.size:
                continue
            here = labels[row.units]
            if row.weights is None:
                lengths = np.bincount(here, minlength=sizes.size)
                cut = np.flatnonzero((lengths > 0) & (lengths < sizes))
                if not cut.size:
                    continue
                number = np.arange(sizes.size)
                number[cut] = sizes.size + np.arange(cut.size)
                placed, atom, lengths = number[here], cut, lengths[cut]
                order: slice | Units = slice(None)
            else:
                order, starts = _classes(here, row.weights)
                lengths = np.diff(np.append(starts, order.size))
                atom = here[order[starts]].astype(np.int64)
                covered = np.bincount(atom, weights=lengths, minlength=sizes.size).astype(np.int64)
                # INVARIANT: of an atom that lies wholly in the row, the first class keeps the number; else the rest does
                first = np.ones(atom.size, bool)
                first[1:] = atom[1:] != atom[:-1]
                moved = ~(first & (covered[atom] == sizes[atom]))
                if not moved.any():
                    continue
                number = atom.copy()
                number[moved] = sizes.size + np.arange(int(moved.sum()))
                placed = np.repeat(number, lengths)
                atom, lengths = atom[moved], lengths[moved]
            if labels is self.labels:
                labels, sizes = labels.copy(), sizes.copy()
            labels[row.units[order]] = placed
            np.subtract.at(sizes, atom, lengths)
            sizes = np.concatenate([sizes, lengths])
            parent = np.concatenate([parent, parent[atom]])
            if sizes.size > most:
                return None
        return Atoms(labels, sizes), parent

    def cut(self, met: Met, cells: Units, most: int) -> tuple[Atoms, Units, Units] | None:
        """Return the atoms that disjoint rows leave, with the old atom of each and the row that it is in, -1 for none.

        met: how they meet cells. cells: those that are rows. None: there would be more than `most`.
        """
        row = np.full(max(int(met.cell.max(initial=-1)), int(cells.max(initial=-1))) + 2, -1)
        row[cells] = np.arange(cells.size)
        mine = row[met.cell]
        others = met.cell[mine < 0]
        if others.size and others.min() < others.max():
            met = met.merged(mine)
            mine = met.cell
        if met.atom.size > most:
            return None
        if met.atom.size == self.sizes.size:
            return self, met.atom, mine
        return Atoms(met.at, met.size), met.atom, mine

    def vector(self, row: Row) -> Floats:
        """Return the row's weight per atom; the atoms must be split by it."""
        found = np.zeros(self.sizes.size)
        found[self.labels[row.units]] = 1.0 if row.weights is None else row.weights
        return found


def _classes(here: Labels, weights: Floats) -> tuple[Units, Units]:
    """Return an order of the units and where, in it, each class of equal atom and weight begins."""
    order = np.lexsort((weights, here))
    new = np.ones(here.size, bool)
    new[1:] = (here[order[1:]] != here[order[:-1]]) | (weights[order[1:]] != weights[order[:-1]])
    return order, np.flatnonzero(new)
