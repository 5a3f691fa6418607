"""Whether released partitions tell about k people in every combination, found without looking for small supports.

A combination of released numbers gives each atom the sum of the coefficients of the cells that it is in. One that tells about
fewer than k people is zero on every atom of k people or more. So where only the combination that is zero everywhere is zero
on all large atoms, there is nothing to audit, however many small atoms there are: a table of ten thousand groups beside
one of seven leaves tens of thousands of atoms, a few of them small.

**How.** The cells of the largest partition are disjoint, so its coefficients are eliminated by hand: in each of its cells, any
large atom says what its coefficient is, and all other atoms say how the coefficients of the other partitions differ. What is
left is a row space over the cells of the others, few by comparison; the differences at small atoms must lie in the span of
those at large atoms. The arithmetic and its errors are the audit's (`bastion_policy.audit.primes`).

INVARIANT: a doubt, or too much work, is a no.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bastion_policy.audit.primes import draw
from bastion_policy.audit.space import CHUNK, Space, touched
from bastion_policy.history.sets import Flags, Ints, Items

#: cells of all partitions but the largest
MOST_CELLS = 1024
#: entries of the partitions' table
MOST_ENTRIES = 1 << 26
#: distinct differences at small atoms, and at large ones
MOST_DIFFERENCES = 20_000
#: chunks of large atoms in a row that add nothing, before the others are taken to add nothing either
PATIENCE = 3


def certain(parts: Items, sizes: Ints, large: Flags, seed: bytes) -> bool:
    """Return whether no combination of the partitions but zero vanishes on all large atoms.

    parts: (partitions x atoms) the cell of each atom, -1 for none. sizes: items per atom. large: atoms of k people at least.
    """
    if not parts.shape[0] or parts.size > MOST_ENTRIES:
        return False
    counts = parts.max(axis=1).astype(np.int64) + 1
    first = int(np.argmax(counts))
    others = np.delete(np.arange(parts.shape[0]), first)
    if counts[others].sum() > MOST_CELLS:
        return False
    here = np.flatnonzero(sizes > 0)
    main, big = parts[first, here], large[here]
    reference = np.full(int(counts[first]) + 1, -1, np.int64)
    reference[main[big]] = np.flatnonzero(big)
    reference[-1] = -1  # in no cell: nothing is eliminated
    if bool((reference[main[main >= 0]] < 0).any()):
        return False  # a cell of small atoms alone
    codes, columns = _codes(parts[np.ix_(others, here)], counts[others])
    pairs = codes * (columns.shape[0] + 1) + np.where(main >= 0, codes[reference[main]], columns.shape[0])
    known, told = np.unique(pairs[~big]), np.unique(pairs[big])
    if max(known.size, told.size) > MOST_DIFFERENCES:
        return False
    columns = np.vstack([columns, np.zeros((1, columns.shape[1]), np.int8)])
    width = columns.shape[0]

    def differences(chosen: Ints) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = np.subtract(
            columns[chosen // width], columns[chosen % width], dtype=np.float64
        )
        return found

    space, idle = Space.empty(draw(seed), columns.shape[1]), 0
    order = np.random.default_rng(np.frombuffer(seed[:16], np.uint32)).permutation(told)
    every = np.ones(columns.shape[1], np.int64)
    for start in range(0, order.size, CHUNK):
        entered = space.enter(space.remainder(differences(order[start : start + CHUNK])), every, 1)
        if entered is None:
            return False
        idle = 0 if entered[1].any() else idle + 1
        space = entered[0]
        if idle == PATIENCE:
            break
    return not any(
        touched(space.remainder(differences(known[start : start + CHUNK]))).any()
        for start in range(0, known.size, CHUNK)
    )


def _codes(parts: Items, counts: Ints) -> tuple[Ints, npt.NDArray[np.int8]]:
    """Return, per atom, which row of a table it has, and the table: distinct atoms x cells, 1 where the atom is in the cell."""
    codes = np.zeros(parts.shape[1], np.int64)
    for row, count in zip(parts, counts, strict=True):
        _, codes = np.unique(codes * (count + 1) + row + 1, return_inverse=True)
    _, example = np.unique(codes, return_index=True)
    table = np.zeros((example.size, int(counts.sum())), np.int8)
    for row, offset in zip(parts, np.cumsum(counts) - counts, strict=True):
        cells = row[example]
        inside = cells >= 0
        table[np.flatnonzero(inside), offset + cells[inside]] = 1
    return codes, table
