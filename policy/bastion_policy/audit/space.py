"""The row space: an incremental reduced row echelon form over atoms, modulo three primes at once.

**Which pivots.** Call an atom *small* if it has fewer than k units. Every row's pivot is on an atom of k units or more where
the row touches one at all (`INVARIANT: large first`). A vector of the space is the sum of its pivot entries times the rows; so
a vector that lives on small atoms only is a combination of the rows with small pivots, and these rows live on small atoms only.
All supports of fewer than k units are therefore found among (usually few) rows, and there are none where no row has a small
pivot. When a split makes a pivot small while its row touches a large atom, the row is taken out and put in again.

**Vectors inside one atom.** e_a is in the space exactly if a is a pivot and its row is e_a: the echelon form is canonical
for its pivots. So checking the rows with small pivots finds *all* of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bastion_policy.audit.primes import Floats, Residues, Weights, inverse, product, shrink, subtract_product
from bastion_policy.audit.rows import Units

Flags = npt.NDArray[np.bool_]
Stored = npt.NDArray[np.float32]
CHUNK = 64  # rows that enter together: bounds the working memory at 64 x atoms x 8 bytes x 3
_WHICH = (0, 1, 2)


def touched(residues: Sequence[Residues]) -> Flags:
    """Return where any of the three residues is nonzero: where the rational number is nonzero."""
    found: Flags = (residues[0] != 0) | (residues[1] != 0) | (residues[2] != 0)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """An echelon form (`rows`, rank x atoms per prime) and the remainders of hidden cells modulo it (`hidden`).

    Residues are float32 (exact below 2**24). Never changed in place. 12 bytes per row and atom.
    """

    primes: tuple[int, int, int]
    pivots: Units
    rows: tuple[Stored, ...]
    hidden: tuple[Stored, ...]

    @classmethod
    def empty(cls, primes: tuple[int, int, int], atoms: int) -> Space:
        """Return the space {0}."""
        none = tuple(np.zeros((0, atoms), np.float32) for _ in _WHICH)
        return cls(primes, np.zeros(0, np.int64), none, none)

    @property
    def rank(self) -> int:
        """The number of independent rows."""
        return int(self.pivots.size)

    def split(self, parent: Units, sizes: Units) -> Space:
        """Return the same space over split atoms: each pivot moves to the largest part of its atom."""
        if parent.size == self.rows[0].shape[1]:
            return self
        order = np.lexsort((-sizes, parent))
        first = np.ones(parent.size, bool)
        first[1:] = parent[order[1:]] != parent[order[:-1]]
        largest = order[first]  # parents are 0 .. n-1, each has a part
        rows, hidden = (tuple(r.take(parent, axis=1) for r in part) for part in (self.rows, self.hidden))
        pivots = largest[self.pivots]
        # a part of a pivot's atom that is not the pivot keeps its nonzero entry: it is an ordinary column now
        return Space(self.primes, pivots, rows, hidden)

    def remainder(self, vectors: Floats) -> list[Floats]:
        """Return finite `vectors` (n x atoms) modulo the space: zero exactly where a vector is in it (but for errors)."""
        weights = Weights(self.primes)
        found = []
        for which in _WHICH:
            v = weights.residues(vectors, which)
            if self.rank:
                v = subtract_product(v, np.ascontiguousarray(v[:, self.pivots]), self.rows[which], self.primes[which])
            found.append(v)
        return found

    def unsettled(self, sizes: Units, k: int) -> Units:
        """Return the rows that break `large first`: their pivot is small and they touch an atom of k units or more."""
        large = np.flatnonzero(sizes >= k)
        suspects = np.flatnonzero(sizes[self.pivots] < k)
        if not suspects.size or not large.size:
            return suspects[:0]
        return suspects[touched(tuple(r[np.ix_(suspects, large)] for r in self.rows)).any(axis=1)]

    def settled(self, sizes: Units, k: int) -> Space | None:
        """Return the same space with large pivots first; None: in doubt."""
        loose = self.unsettled(sizes, k)
        space = self
        if loose.size:
            kept = np.setdiff1d(np.arange(self.rank), loose)
            out = [r[loose].astype(np.float64) for r in self.rows]
            space = Space(self.primes, self.pivots[kept], tuple(r[kept] for r in self.rows), self.hidden)
            for i in range(0, loose.size, CHUNK):
                part = [v[i : i + CHUNK] for v in out]
                if i:
                    part = space.reduce(part)
                entered = space.enter(part, sizes, k)
                if entered is None or not entered[1].all():
                    return None
                space = entered[0]
        return space

    def reduce(self, residues: list[Floats]) -> list[Floats]:
        """Return vectors that are residues already, modulo the space."""
        return [
            subtract_product(v, np.ascontiguousarray(v[:, self.pivots]), r, p)
            for v, r, p in zip(residues, self.rows, self.primes, strict=True)
        ]

    def enter(self, remainders: list[Floats], sizes: Units, k: int) -> tuple[Space, Flags] | None:
        """Return the space with vectors added that are reduced modulo it, and which were independent; None: in doubt.

        A vector is independent if its remainder modulo the ones before it is nonzero.
        """
        block = _echelon(remainders, self.primes, lambda union, every: _pivot(union, every, sizes, k))
        if block is None:
            return None
        pivots, rows, independent = block
        if not pivots.size:
            return self, independent
        parts: list[list[Stored]] = [[], []]
        for which, prime in enumerate(self.primes):
            for part, old in zip(parts, (self.rows[which], self.hidden[which]), strict=True):
                head = np.ascontiguousarray(old[:, pivots], dtype=np.float64)
                touching = np.flatnonzero(head.any(axis=1))
                changed = old
                if touching.size == old.shape[0]:
                    changed = subtract_product(old, head, rows[which], prime)
                elif touching.size:
                    changed = subtract_product(old[touching], head[touching], rows[which], prime).astype(np.float32)
                    if touching.size < old.shape[0]:
                        whole = old.copy()
                        whole[touching] = changed
                        changed = whole
                part.append(changed)
            parts[0][which] = np.concatenate([parts[0][which], rows[which].astype(np.float32)])
        space = Space(self.primes, np.concatenate([self.pivots, pivots]), tuple(parts[0]), tuple(parts[1]))
        return space, independent

    def hiding(self, remainders: list[Floats]) -> Space:
        """Return the space that also watches these hidden cells (remainders modulo it)."""
        hidden = tuple(np.concatenate([h, v.astype(np.float32)]) for h, v in zip(self.hidden, remainders, strict=True))
        return Space(self.primes, self.pivots, self.rows, hidden)


def _pivot(union: Flags, every: Flags, sizes: Units, k: int) -> int | None:
    """Return the pivot of a nonzero vector: its largest atom; None: the primes do not agree enough.

    INVARIANT: large first. A vector that touches a large atom gets a large pivot or none.
    """
    usable = np.flatnonzero(every)
    if not usable.size:
        return None
    best = int(usable[np.argmax(sizes[usable])])
    if sizes[best] < k and bool((union & (sizes >= k)).any()):
        return None
    return best


def _echelon(
    vectors: list[Floats], primes: tuple[int, int, int], choose: Callable[[Flags, Flags], int | None]
) -> tuple[Units, list[Floats], Flags] | None:
    """Return pivots and reduced row echelon form of few vectors, and which were independent; None: in doubt.

    Row by row: with E the rows so far (each 1 at its pivot, 0 at earlier ones) and T = E at the pivots (unit triangular), the
    remainder of v is v - (v at the pivots) T^-1 E, and the reduced form is T^-1 E.
    """
    union = touched(vectors)
    if bool((np.count_nonzero(union, axis=0) <= 1).all()):
        return _apart(vectors, primes, union, choose)
    count, atoms = vectors[0].shape
    independent = np.zeros(count, bool)
    pivots: list[int] = []
    rows = [np.zeros((count, atoms)) for _ in _WHICH]
    solved = [np.zeros((count, count)) for _ in _WHICH]
    for i in range(count):
        n = len(pivots)
        left = []
        for which, prime in enumerate(primes):
            v = vectors[which][i : i + 1]
            if n:
                factors = product(np.ascontiguousarray(v[:, pivots]), solved[which][:n, :n], prime)
                v = v - factors @ rows[which][:n]  # n <= CHUNK products
                shrink(v, prime)
            left.append(v[0])
        union = touched(left)
        if not union.any():
            continue
        every = (left[0] != 0) & (left[1] != 0) & (left[2] != 0)
        pivot = choose(union, every)
        if pivot is None:
            return None
        for which, prime in enumerate(primes):
            row = rows[which][n]
            row[:] = left[which] * inverse(left[which][pivot], prime)
            shrink(row, prime)
            column = np.ascontiguousarray(rows[which][:n, pivot : pivot + 1])
            if n:
                solved[which][:n, n : n + 1] = product(-solved[which][:n, :n], column, prime)
            solved[which][n, n] = 1.0
        pivots.append(pivot)
        independent[i] = True
    n = len(pivots)
    reduced = [product(s[:n, :n], r[:n], p) for s, r, p in zip(solved, rows, primes, strict=True)]
    return np.array(pivots, np.int64), reduced, independent


def _apart(
    vectors: list[Floats], primes: tuple[int, int, int], touching: Flags, choose: Callable[[Flags, Flags], int | None]
) -> tuple[Units, list[Floats], Flags] | None:
    """Return what `_echelon` does, of vectors of which no two touch one atom. touching: where each is nonzero.

    None has anything at the pivot of another, so each is its own remainder, and its row is itself divided by its pivot.
    """
    independent = np.asarray(touching.any(axis=1))
    left = [v[independent] for v in vectors]
    every = (left[0] != 0) & (left[1] != 0) & (left[2] != 0)
    pivots: list[int] = []
    for union, usable in zip(touching[independent], every, strict=True):
        pivot = choose(union, usable)
        if pivot is None:
            return None
        pivots.append(pivot)
    rows = []
    for v, prime in zip(left, primes, strict=True):
        scale = [inverse(v[i, pivot], prime) for i, pivot in enumerate(pivots)]
        rows.append(shrink(np.ascontiguousarray(v * np.array(scale)[:, None]), prime))
    return np.array(pivots, np.int64), rows, independent
