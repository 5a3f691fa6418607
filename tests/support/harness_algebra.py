"""What follows linearly from released numbers: exact elimination modulo a prime, and singular values beside it.

Nothing here is shared with the product: the audit that is held to account must not count for itself. A *row* gives every
unit its weight in one released number (1: the unit is in the population). Whoever holds the numbers can compute the rational
combinations of the rows, and nothing else linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PRIME = 2**31 - 1
Mask = np.ndarray


def compress(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (rows over atoms, sizes of the atoms, atom of each unit): atoms are units that no row tells apart."""
    if not rows.shape[0]:
        return np.zeros((0, 1), np.int64), np.array([rows.shape[1]]), np.zeros(rows.shape[1], np.int64)
    # a random fingerprint per unit; equal fingerprints are compared in full
    packed = np.packbits(rows.astype(np.uint8), axis=0) if _is_mask(rows) else rows
    _, first, atom, sizes = np.unique(packed, axis=1, return_index=True, return_inverse=True, return_counts=True)
    return rows[:, first].astype(np.int64), sizes, atom.reshape(-1)


def _is_mask(rows: np.ndarray) -> bool:
    return rows.dtype == np.bool_ or bool(np.isin(rows, (0, 1)).all())


def eliminate(rows: np.ndarray, watched: np.ndarray, large: int) -> tuple[np.ndarray, list[int], np.ndarray, int]:
    """Eliminate columns from the left modulo `PRIME`.

    Returns (the rows that vanish on the first `large` columns, in reduced row echelon form; their pivots; what is left of
    `watched`: zero where it is a combination of the rows; the rank).
    """
    work = rows.astype(np.int64) % PRIME
    rest = watched.astype(np.int64) % PRIME
    pivots: list[int] = []
    done = first_small = 0
    for column in range(work.shape[1]):
        if column == large:
            first_small = done
        if done == work.shape[0]:
            break
        found = np.flatnonzero(work[done:, column])
        if not found.size:
            continue
        # the row with the fewest entries is the cheapest to subtract
        at = (
            done + int(found[np.argmin((work[done + found] != 0).sum(axis=1))])
            if column < large
            else done + int(found[0])
        )
        work[[done, at]] = work[[at, done]]
        inverse = pow(int(work[done, column]), PRIME - 2, PRIME)
        here = np.flatnonzero(work[done])
        pivot = work[done, here] * inverse % PRIME
        work[done, here] = pivot
        start = done + 1 if column < large else first_small
        for part, others in (
            (work, start + np.flatnonzero(work[start:, column])),
            (rest, np.flatnonzero(rest[:, column])),
        ):
            others = others[others != done] if part is work else others
            if others.size:
                block = np.ix_(others, here)
                part[block] = (part[block] - part[others, column, None] * pivot) % PRIME
        pivots.append(column)
        done += 1
    if done < first_small or work.shape[1] <= large or (pivots and pivots[-1] < large):
        first_small = done
    return work[first_small:done], pivots[first_small:], rest, done


@dataclass(frozen=True)
class Leaks:
    """What follows from released rows.

    people: units whose own value follows. atoms: classes of 2 to k - 1 units whose sum follows. cells: positions of watched
    cells whose sum follows. supports: rows of the echelon form that live on fewer than k units. rank: independent rows.
    """

    people: tuple[int, ...]
    atoms: tuple[tuple[int, ...], ...]
    cells: tuple[int, ...]
    supports: int
    rank: int


def leaks(rows: Sequence[Mask], units: int, k: int, watched: Sequence[Mask] = ()) -> Leaks:
    """Return all single units, atoms below k and watched cells that follow from the rows.

    Complete for units and atoms: a vector that lives on one atom of the row space is a row of its reduced echelon form.
    """
    over, sizes, atom = compress(_stack([*rows, *watched], units))
    released, asked = over[: len(rows)], over[len(rows) :]
    # watched cells may cut an atom of the rows in parts, which stay equal in all rows
    _, whole, parent = compress(_stack(rows, units))
    parents = np.zeros(sizes.size, np.int64)
    parents[atom] = parent
    # large atoms first: a row whose pivot is a small atom lives on small atoms alone
    order = np.lexsort((parents, -whole[parents]))
    large = int((whole[parents] >= k).sum())
    form, pivots, rest, rank = eliminate(released[:, order], asked[:, order], large)
    touched = form != 0
    people, small = [], []
    for row in range(len(pivots)):
        inside = set(parents[order[touched[row]]].tolist())
        if len(inside) == 1:
            members = tuple(int(i) for i in np.flatnonzero(parent == inside.pop()))
            if len(members) == 1:
                people.append(members[0])
            else:
                small.append(members)
    cells = tuple(int(i) for i in np.flatnonzero(asked.any(axis=1) & ~rest.any(axis=1)))
    supports = int(((touched * sizes[order]).sum(axis=1) < k).sum())
    return Leaks(tuple(sorted(people)), tuple(sorted(small)), cells, supports, rank)


def people_by_svd(rows: Sequence[Mask], units: int, tolerance: float = 1e-7) -> tuple[int, ...]:
    """Return the units whose own value follows, by singular values: those whose unit vector lies in the row space."""
    over, sizes, atom = compress(_stack(rows, units))
    if not over.shape[0]:
        return ()
    scaled = over * np.sqrt(sizes)
    _, singular, basis = np.linalg.svd(scaled, full_matrices=False)
    kept = basis[singular > singular.max(initial=0) * 1e-10 * max(scaled.shape)]
    # the unit vector of an atom of one unit is in the row space if its projection has length 1
    inside = 1 - (kept**2).sum(axis=0)
    found = np.flatnonzero((np.abs(inside) < tolerance) & (sizes == 1))
    return tuple(int(i) for i in np.flatnonzero(np.isin(atom, found)))


def solve(rows: Sequence[Mask], values: Sequence[float], wanted: Mask, tolerance: float = 1e-7) -> float | None:
    """Return the sum over `wanted` as least squares combine it from the released numbers; None: it does not follow."""
    if not rows:
        return None
    both = np.stack([np.asarray(r, np.float64) for r in (*rows, wanted)])
    over, _, _ = compress(both)
    system, target = over[:-1].T.astype(np.float64), over[-1].astype(np.float64)
    weights = np.linalg.lstsq(system, target, rcond=None)[0]
    left = np.abs(system @ weights - target).max()
    return float(weights @ np.asarray(values, np.float64)) if left < tolerance else None


def _stack(rows: Sequence[Mask], units: int) -> np.ndarray:
    return np.stack([np.asarray(r) for r in rows]) if len(rows) else np.zeros((0, units), bool)
