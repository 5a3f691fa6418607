"""What a row space may not contain, and how much of it there may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bastion_policy.audit.primes import Floats, independent
from bastion_policy.audit.rows import Units, distinct
from bastion_policy.audit.space import Space, touched

MOST_PAIRS = 20_000  # pairs of rows that are compared exactly; beyond: no clearance
_TOLERANCE = 1e-7


@dataclass(frozen=True, slots=True)
class Isolated:
    """A vector of the row space that must not be there: `rule` is unit, atom, support, pair, suppressed or leverage."""

    rule: str
    units: int


def small_support(space: Space, sizes: Units, k: int, people: People | None = None) -> Isolated | None:
    """Return a row of the echelon form with a support of fewer than k units, the smallest; complete for single atoms.

    people: whose the units are, where several are one person's: then a support of too few people, complete for single people.
    """
    mask, chosen = _small_rows(space, sizes, k)
    if not mask.shape[0]:
        return None
    small, support = np.flatnonzero(sizes < k), mask @ _small_sizes(sizes, k)
    for row in np.argsort(support):
        if support[row] >= k:
            break
        found = isolated(small[mask[row] > 0], sizes, k, people)
        if found is not None:
            return found
    return None if people is None else _of_one(space, people, chosen)


def isolated(support: Units, sizes: Units, k: int, people: People | None = None) -> Isolated | None:
    """Return what a vector is that is nonzero on some atoms; None: of k units (or of enough people), or zero."""
    units = int(sizes[support].sum())
    if not 0 < units < k:
        return None
    if people is not None:
        units = people.of(support)
        if units >= people.least:
            return None
    return Isolated("unit" if units == 1 else "atom" if support.size == 1 else "support", units)


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Whose the units of each atom are. atom, owner: all pairs that there are, once each. least: the smallest number of people."""

    atom: Units
    owner: Units
    least: int

    def of(self, atoms: Units) -> int:
        """How many people have units in some atoms."""
        chosen = np.zeros(int(self.atom.max(initial=-1)) + 1, bool)
        chosen[atoms] = True
        return int(distinct(self.owner[chosen[self.atom]]).size)

    @property
    def single(self) -> Units:
        """By atom whose it is, -1 where it is of several people."""
        count = np.bincount(self.atom)
        found = np.full(count.size, -1, np.int64)
        found[self.atom] = self.owner
        return np.where(count == 1, found, -1)


def _of_one(space: Space, people: People, chosen: Units) -> Isolated | None:
    """Return whether some vector lives on the atoms of one person alone.

    A vector is the sum of its pivot entries times the rows. One that lives on a person's atoms is a combination of the rows with
    pivots there, and these must cancel on all other atoms; so there is none where they are independent on those. Independent modulo
    one prime is independent. One row by itself was looked at before.

    INVARIANT: complete for single people, as the rows of the form are for single units where each person has one.
    """
    whose = people.single
    by_person: dict[int, list[int]] = {}
    for row in chosen.tolist():
        person = int(whose[space.pivots[row]])
        if person >= 0:
            by_person.setdefault(person, []).append(row)
    for person, rows in by_person.items():
        if len(rows) > 1:
            outside = np.flatnonzero(whose != person)
            some = space.rows[0][np.ix_(np.array(rows), outside)].astype(np.float64)
            if not independent(some, space.primes[0]):
                return Isolated("unit", 1)
    return None


def small_rows(space: Space, sizes: Units, k: int) -> int:
    """Return how many rows live on atoms below k units."""
    return int((sizes[space.pivots] < k).sum())


def pairs(space: Space, sizes: Units, k: int) -> Isolated | bool | None:
    """Return a combination of two rows with a support below k units, None if there is none, False: too many to compare.

    A combination is nonzero wherever exactly one of the rows is; where both are, it can vanish on atoms of one ratio only. So
    of any 2k-1 atoms of the first row, k or more must have one ratio: few pairs are left to compare in full.
    """
    mask, chosen = _small_rows(space, sizes, k)
    weight = _small_sizes(sizes, k)
    small = np.flatnonzero(sizes < k)
    support = mask @ weight
    compared = 0
    for a in range(chosen.size - 1):
        others = np.arange(a + 1, chosen.size)
        at = np.flatnonzero(mask[a])
        probe = at[: 2 * k - 1]
        others = others[_agree(space, chosen[a], chosen[others], small[probe]) >= probe.size - (k - 1)]
        apart = support[a] + support[others] - 2 * (mask[np.ix_(others, at)] @ weight[at])
        others = others[apart < k]
        compared += others.size
        if compared > MOST_PAIRS:
            return False
        for b in others:
            left = _left_over(space, chosen[[a, b]], small, weight)
            if left < k:
                return Isolated("pair", left)
    return None


def _agree(space: Space, row: int, others: Units, atoms: Units) -> Units:
    """Return, per other row, on how many of `atoms` (where `row` is nonzero) one ratio holds at most.

    INVARIANT: where a residue vanishes modulo the first prime only, the atom counts as one that agrees.
    """
    prime = space.primes[0]
    below = space.rows[0][row, atoms].astype(np.int64) % prime
    above = space.rows[0][np.ix_(others, atoms)].astype(np.int64) % prime
    known = (above != 0) & (below != 0)
    unknown = touched(tuple(r[np.ix_(others, atoms)] for r in space.rows)) & ~known
    # the longest run of equal ratios in sorted order; what has none gets numbers of its own
    ratios = np.where(known, above * _inverses(below, prime) % prime, -1 - np.arange(atoms.size))
    ratios.sort(axis=1)
    place = np.arange(atoms.size)
    start = np.where(np.diff(ratios, axis=1, prepend=-1 - atoms.size) != 0, place, 0)
    most = (place - np.maximum.accumulate(start, axis=1) + 1).max(axis=1, initial=0)
    return np.asarray(np.where(known.any(axis=1), most, 0) + unknown.sum(axis=1), np.int64)


def _left_over(space: Space, two: Units, small: Units, weight: Floats) -> int:
    """Return the fewest units on which a combination of two rows is nonzero."""
    values = [r[np.ix_(two, small)].astype(np.int64) % p for r, p in zip(space.rows, space.primes, strict=True)]
    here = touched(tuple(v.astype(np.float64) for v in values))
    both = here[0] & here[1]
    units = int(weight[here[0] ^ here[1]].sum())
    # INVARIANT: an atom whose ratio is not known modulo every prime counts as one that vanishes
    clear = both & np.logical_and.reduce([(v != 0).all(axis=0) for v in values])
    if clear.any():
        pieces = zip(values, space.primes, strict=True)
        ratios = np.stack([v[0, clear] * _inverses(v[1, clear], p) % p for v, p in pieces])
        order = np.lexsort(ratios)
        new = np.append(True, (np.diff(ratios[:, order], axis=1) != 0).any(axis=0))
        classes = np.bincount(np.cumsum(new) - 1, weights=weight[clear][order])
        units += int(classes.sum() - classes.max())
    return units


def suppressed(space: Space) -> bool:
    """Return whether a hidden cell's own vector is in the space."""
    return bool(space.hidden[0].shape[0]) and not bool(touched(space.hidden).any(axis=1).all())


def budget(sizes: Units, k: int, share: float) -> float:
    """Return the highest rank: `share` of the atoms, where an atom counts with its units, k at most (and 1 / share at least).

    Atoms as such would refuse every first table (a group_by has as many rows as atoms); an atom of k units or more gives nobody
    away, and is worth the k parts into which later releases may divide it. Once all atoms are single units, this is
    exactly `share` times the atoms.
    """
    return share * float(np.minimum(sizes, max(k, math.ceil(1 / share))).sum())


def leverage(rows: Floats, sizes: Units, tau: float) -> Isolated | bool | None:
    """Return the unit with a leverage above tau if there is one, False: the numbers are not good enough to tell.

    `rows` are the independent released rows over atoms. The leverage of a unit t is the squared length of e_t projected on
    the row space (over units: an atom of s units counts s times). |v_t|**2 <= leverage * |v|**2 for all v of it, so a support
    of s units needs s * tau >= 1. A tolerance of 1e-7 * tau does not change the smallest whole s.

    INVARIANT: floating point may refuse and may not clear: what is not well conditioned is not cleared.
    """
    if not rows.shape[0]:
        return None
    scaled = rows / np.abs(rows).max(axis=1, keepdims=True) * np.sqrt(sizes)
    basis, triangle = np.linalg.qr(scaled.T)
    singular = np.linalg.svd(triangle, compute_uv=False)
    if not np.isfinite(singular).all() or singular[-1] <= 0:
        return False
    error = singular[0] / singular[-1] * np.finfo(np.float64).eps * 100 * math.sqrt(rows.shape[0])
    if error > _TOLERANCE * tau / 4:
        return False
    highest = float(((basis**2).sum(axis=1) / sizes).max())
    return Isolated("leverage", 0) if highest + error > tau * (1 + _TOLERANCE) else None


def _small_rows(space: Space, sizes: Units, k: int) -> tuple[Floats, Units]:
    """Return the support (0 or 1) over small atoms of each row with a small pivot, and the numbers of these rows.

    INVARIANT: large first, so these rows are zero on all other atoms, and all other rows touch an atom of k units.
    """
    chosen = np.flatnonzero(sizes[space.pivots] < k)
    small = np.flatnonzero(sizes < k)
    if not chosen.size:
        return np.zeros((0, small.size)), chosen
    if chosen.size == space.rank and small.size == sizes.size:
        return touched(space.rows).astype(np.float64), chosen
    return touched(tuple(r[np.ix_(chosen, small)] for r in space.rows)).astype(np.float64), chosen


def _small_sizes(sizes: Units, k: int) -> Floats:
    return sizes[sizes < k].astype(np.float64)


def _inverses(values: Units, prime: int) -> Units:
    """Return the inverses of residues below 2**23 (0 of 0)."""
    result = np.ones_like(values)
    power, exponent = values.copy(), prime - 2
    while exponent:
        if exponent & 1:
            result = result * power % prime
        power = power * power % prime
        exponent >>= 1
    return result
