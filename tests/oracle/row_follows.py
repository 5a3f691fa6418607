"""Populations near another one whose numbers follow from what was released, by linear algebra modulo a large prime."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

PRIME = 2**61 - 1
#: classes of one unit that are moved together, moves that are considered, pairs of them, and populations found, at most
MOST_TOGETHER, MOST_MOVES, MOST_ALIKE, MOST_FOUND = 5, 1000, 100, 400
#: populations of which some are put together
MOST_TOUCHING = 10
Rows = Counter[int]


def classes_of(rows: Sequence[Mapping[int, Any]], among: Sequence[int]) -> dict[tuple[Any, ...], list[int]]:
    """The rows of a table by how often each population has them."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for i in among:
        found.setdefault(tuple(r.get(i, 0) for r in rows), []).append(i)
    return found


def worth(units: int, k: int, budget: float) -> int:
    """How many atoms a class of people counts as in the rank budget: one of k people and more as k."""
    return min(units, max(k, math.ceil(1 / budget)))


def whole_classes(sets: Sequence[Mapping[int, Any]], base: Rows, among: Sequence[int]) -> tuple[Rows, Rows]:
    """The classes inside a population, and those that touch it, whose rows no population tells apart."""
    classes = classes_of([dict.fromkeys(s, 1) for s in sets], among).values()
    return tuple(  # type: ignore[return-value]
        Counter(r for rows in classes if some(bool(base[x]) for x in rows) for r in rows) for some in (all, any)
    )


def together(sets: Sequence[Rows], base: Rows) -> Iterator[Rows]:
    """Some of what was asked for, put together: populations inside one, or that touch it; and it without some of its parts.

    Not all that was asked for tells rows apart: what the audit did not clear is as if nobody had asked.
    """
    found: list[Rows] = []
    for one in sets:
        if one not in found and one != base and any(base[x] for x in one):
            found.append(one)
    inside = [one for one in found if all(base[x] >= c for x, c in one.items())]
    for some in (inside, sorted(found, key=lambda one: sum((one - base).values()))):
        for size in range(1, 5):
            for chosen in itertools.combinations(some[:MOST_TOUCHING], size):
                union: Rows = Counter()
                for one in chosen:
                    union |= one
                yield union
    classes = sorted(classes_of(found, sorted(base)).values(), key=len)[:MOST_TOUCHING]
    for size in (1, 2):
        for left in itertools.combinations(classes, size):
            yield base - Counter({x: base[x] for rows in left for x in rows})


def echelon(rows: list[list[int]], width: int) -> tuple[list[list[int]], list[int]]:
    """The reduced row echelon form modulo the prime, and its pivots."""
    rows, pivots = [[x % PRIME for x in r] for r in rows], []
    for column in range(width):
        done = len(pivots)
        pivot = next((i for i in range(done, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[done], rows[pivot] = rows[pivot], rows[done]
        lead = pow(rows[done][column], -1, PRIME)
        rows[done] = [x * lead % PRIME for x in rows[done]]
        for i, row in enumerate(rows):
            if i != done and row[column]:
                factor = row[column]
                rows[i] = [(a - factor * b) % PRIME for a, b in zip(row, rows[done], strict=True)]
        pivots.append(column)
    return rows[: len(pivots)], pivots


def rank(rows: list[list[int]]) -> int:
    """The number of independent rows."""
    return len(echelon(rows, len(rows[0]))[1]) if rows else 0


def orthogonal(rows: list[list[int]], width: int, draw: random.Random) -> list[int]:
    """A random vector that vanishes on all rows."""
    reduced, pivots = echelon(rows, width)
    found = [0 if c in pivots else draw.randrange(PRIME) for c in range(width)]
    for row, column in zip(reduced, pivots, strict=True):
        found[column] = -sum(a * b for a, b in zip(row, found, strict=True) if a) % PRIME
    return found


def following(released: Sequence[Mapping[int, int]], asked: Rows, units: Sequence[Any], k: int) -> Iterator[Rows]:
    """Populations that differ from `asked` by some rows of one to four units, of fewer than k in all, and follow.

    released: populations whose numbers are known. What follows is a rational combination of them. units: of the table's
    rows. Rows that nothing tells apart, classes, are moved in or out together.
    """
    classes = classes_of([*released, asked], range(len(units)))
    keys = list(classes)
    vector = orthogonal([[key[i] for key in keys] for i in range(len(released))], len(keys), random.Random(len(keys)))
    aim = sum(key[-1] * x for key, x in zip(keys, vector, strict=True)) % PRIME
    by_units: dict[frozenset[Any], list[tuple[int, int]]] = {}
    for at, key in enumerate(keys):
        people = frozenset(units[i] for i in classes[key])
        if key[-1] in (0, 1) and len(people) < k:
            by_units.setdefault(people, []).append(((-vector[at] if key[-1] else vector[at]) % PRIME, at))
    moves = [
        (sum(value for value, _ in some) % PRIME, tuple(at for _, at in some))
        for found in by_units.values()
        for size in range(1, min(len(found), MOST_TOGETHER) + 1)
        for some in itertools.combinations(found, size)
    ][:MOST_MOVES]
    needed, seen = -aim % PRIME, set[frozenset[int]]()
    for chosen in matching(moves, needed):
        some = frozenset(chosen)
        moved = [i for at in some for i in classes[keys[at]]]
        if len(some) == len(chosen) and some not in seen and len({units[i] for i in moved}) < k:
            seen.add(some)
            found = Counter(asked)
            for i in moved:
                found[i] = 1 - found[i]
            yield +found
        if len(seen) > MOST_FOUND:
            return


def matching(moves: Sequence[tuple[int, tuple[int, ...]]], needed: int) -> Iterator[tuple[int, ...]]:
    """One to four moves that come to a number; of many pairs that come to the same, some."""
    pairs: dict[int, list[tuple[int, ...]]] = {}
    for (a, one), (b, two) in itertools.combinations(moves, 2):
        known = pairs.setdefault((a + b) % PRIME, [])
        if len(known) < MOST_ALIKE:
            known.append(one + two)
    yield from (some for a, some in moves if a == needed)
    yield from pairs.get(needed, ())
    for a, some in moves:
        yield from (some + more for more in pairs.get((needed - a) % PRIME, ())[:1])
    for a, few in pairs.items():
        yield from (few[0] + more for more in pairs.get((needed - a) % PRIME, ())[:1])
