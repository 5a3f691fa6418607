"""Whether released partitions tell about k people in every combination, found without looking for small supports.

A combination of released numbers gives each person the sum of the coefficients of the cells that they are in. Take one that is
not zero for fewer than k people, and let the *type* of a person be their cells in all partitions but the largest.

1. *Two types in one cell* of the largest partition: its coefficient can make up for one type only. So if types s and t have
   different sums, in every cell g at least min(people of s in g, people of t in g) are not zero. Where these add up to k or more
   over all cells, s and t have the same sum.
2. *People in no cell* of the largest partition: where k of them are of one type, its sum is zero.
3. These equalities are linear in the coefficients. Where they imply that all types within one cell have one sum, for every
   cell, and that the types of those in no cell have the sum zero, the combination is the same for everybody in a cell. So it is
   zero for all of a cell or for none; each cell has k people; so the combination is zero everywhere.

So a table of ten thousand groups beside one of seven needs no audit, however small the classes that the two leave. The rank of
3. is computed over the cells of the other partitions, few by comparison, with the audit's arithmetic and its errors
(`bastion_policy.audit.primes`). Rows stand for people: `least` rows are of k people at least.

INVARIANT: a doubt, or too much work, is a no.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bastion_policy.audit.atoms import numbered
from bastion_policy.audit.primes import draw
from bastion_policy.audit.space import CHUNK, Space, touched
from bastion_policy.history.sets import Ints, Items

#: cells of all partitions but the largest
MOST_CELLS = 1024
#: entries of the partitions' table
MOST_ENTRIES = 1 << 26
#: differences of types that are looked at
MOST_DIFFERENCES = 20_000
#: types in one cell that are all compared with one another; the others are compared with the largest
BESIDE = 12
#: chunks of equalities in a row that add nothing, before the others are taken to add nothing either
PATIENCE = 3


def certain(parts: Items, sizes: Ints, least: int, seed: bytes) -> bool:
    """Return whether no combination of the partitions but zero is about fewer than k people.

    parts: (partitions x atoms) the cell of each atom, -1 for none. sizes: rows per atom.
    """
    if not parts.shape[0] or parts.size > MOST_ENTRIES:
        return False
    counts = parts.max(axis=1).astype(np.int64) + 1
    first = int(np.argmax(counts))
    others = np.delete(np.arange(parts.shape[0]), first)
    if counts[others].sum() > MOST_CELLS:
        return False
    here = np.flatnonzero(sizes > 0)
    types, table = _types(parts[np.ix_(others, here)], counts[others])
    kinds = table.shape[0]
    # one entry per cell and type, the largest of a cell first; kinds + type for those in no cell
    code, at = numbered((parts[first, here].astype(np.int64) + 1) * kinds + types, (int(counts[first]) + 1) * kinds)
    rows = np.bincount(at, sizes[here], code.size).astype(np.int64)
    most = int(rows.max(initial=0)) + 1
    order = np.argsort(code // kinds * most - rows, kind="stable")
    cell, kind, rows = code[order] // kinds - 1, code[order] % kinds, rows[order]
    outside = cell < 0
    alone, here_rows = kind[outside], rows[outside]
    cell, kind, rows = cell[~outside], kind[~outside], rows[~outside]
    if cell.size and bool((np.bincount(cell, rows)[cell] < least).any()):
        return False
    start = np.searchsorted(cell, cell)
    place = np.arange(cell.size) - start
    # what must follow: each type has the sum of the largest type of its cell; outside, zero (the row after the last type)
    pairs = np.concatenate(
        [_pair(kind[start], kind, kinds)[place > 0], _pair(alone, np.full_like(alone, kinds), kinds)]
    )
    needed, _ = numbered(pairs, (kinds + 1) ** 2)
    # what is given
    given = [(_pair(kind[start], kind, kinds)[place >= BESIDE], rows[place >= BESIDE])]
    for step in range(1, BESIDE):
        same = cell[step:] == cell[:-step]
        given.append((_pair(kind[step:], kind[:-step], kinds)[same], np.minimum(rows[step:], rows[:-step])[same]))
    given.append((_pair(alone, np.full_like(alone, kinds), kinds), here_rows))
    codes, at = numbered(np.concatenate([g[0] for g in given]), (kinds + 1) ** 2)
    weight = np.bincount(at, np.concatenate([g[1] for g in given]), codes.size)
    equal = codes[weight >= least]
    if not needed.size:
        return True
    if max(needed.size, equal.size) > MOST_DIFFERENCES:
        return False
    table = np.vstack([table, np.zeros((1, table.shape[1]), np.int8)])

    def differences(chosen: Ints) -> npt.NDArray[np.float64]:
        one, two = chosen // (kinds + 1), chosen % (kinds + 1)
        found: npt.NDArray[np.float64] = np.subtract(table[one], table[two], dtype=np.float64)
        return found

    space, idle = Space.empty(draw(seed), table.shape[1]), 0
    shuffled = np.random.default_rng(np.frombuffer(seed[:16], np.uint32)).permutation(equal)
    every = np.ones(table.shape[1], np.int64)
    for begin in range(0, shuffled.size, CHUNK):
        entered = space.enter(space.remainder(differences(shuffled[begin : begin + CHUNK])), every, 1)
        if entered is None:
            return False
        idle = 0 if entered[1].any() else idle + 1
        space = entered[0]
        if idle == PATIENCE:
            break
    return not any(
        touched(space.remainder(differences(needed[begin : begin + CHUNK]))).any()
        for begin in range(0, needed.size, CHUNK)
    )


def _pair(one: Ints, two: Ints, kinds: int) -> Ints:
    """Return one number for an unordered pair of types (or of a type and the row of zeros)."""
    return np.minimum(one, two) * (kinds + 1) + np.maximum(one, two)


def _types(parts: Items, counts: Ints) -> tuple[Ints, npt.NDArray[np.int8]]:
    """Return the type of each atom, and the table of types: types x cells, 1 where people of the type are in the cell."""
    types, kinds = np.zeros(parts.shape[1], np.int64), 1
    for row, count in zip(parts, counts, strict=True):
        met, types = numbered(types * (count + 1) + row + 1, kinds * (int(count) + 1))
        kinds = met.size
    example = np.zeros(kinds, np.int64)
    example[types] = np.arange(types.size)
    table = np.zeros((example.size, int(counts.sum())), np.int8)
    for row, offset in zip(parts, np.cumsum(counts) - counts, strict=True):
        cells = row[example]
        inside = cells >= 0
        table[np.flatnonzero(inside), offset + cells[inside]] = 1
    return types, table
