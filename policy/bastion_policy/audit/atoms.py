"""Atoms: classes of units that no row tells apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bastion_policy.audit.primes import Floats
from bastion_policy.audit.rows import Row, Units

Labels = npt.NDArray[np.int32]


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
