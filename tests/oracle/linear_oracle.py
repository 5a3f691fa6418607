"""The linear audit from its definition: fractions, every subset of units, none of the product's code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import combinations

Vector = tuple[Fraction, ...]


def vector(weights: Iterable[float]) -> Vector:
    return tuple(Fraction(w) for w in weights)


def echelon(rows: Iterable[Vector]) -> list[list[Fraction]]:
    """A basis of the row space, by Gauss."""
    found: list[list[Fraction]] = []
    leads: list[int] = []
    for row in rows:
        rest = list(row)
        for lead, basis in zip(leads, found, strict=True):
            if rest[lead]:
                factor = rest[lead] / basis[lead]
                rest = [a - factor * b for a, b in zip(rest, basis, strict=True)]
        lead = next((i for i, a in enumerate(rest) if a), None)
        if lead is not None:
            found.append(rest)
            leads.append(lead)
    return found


def rank(rows: Iterable[Vector]) -> int:
    return len(echelon(rows))


def spans(rows: Sequence[Vector], target: Vector) -> bool:
    return rank([*rows, target]) == rank(rows)


def atoms(rows: Sequence[Vector], units: int) -> list[tuple[int, ...]]:
    """Units with the same weight in every row."""
    classes: dict[Vector, list[int]] = {}
    for unit in range(units):
        classes.setdefault(tuple(r[unit] for r in rows), []).append(unit)
    return [tuple(c) for c in classes.values()]


def lives_on(rows: Sequence[Vector], where: Sequence[int]) -> bool:
    """Whether a nonzero vector of the row space vanishes on all other units."""
    others = [i for i in range(len(rows[0])) if i not in where] if rows else []
    return rank(rows) > rank([tuple(r[i] for i in others) for r in rows])


def smallest_support(rows: Sequence[Vector], below: int) -> tuple[int, ...] | None:
    """The smallest set of fewer than `below` units on which a nonzero vector of the row space lives."""
    units = len(rows[0]) if rows else 0
    for size in range(1, min(below, units + 1)):
        for where in combinations(range(units), size):
            if lives_on(rows, where):
                return where
    return None


def isolated_atoms(rows: Sequence[Vector], units: int, k: int) -> list[tuple[int, ...]]:
    """Atoms below k units (single units among them) on which a vector of the row space lives."""
    return [a for a in atoms(rows, units) if len(a) < k and lives_on(rows, a)]


def isolated_pairs(rows: Sequence[Vector], units: int, k: int) -> list[tuple[int, ...]]:
    """Two atoms with fewer than k units together on which a vector of the row space lives."""
    both = [a + b for a, b in combinations(atoms(rows, units), 2)]
    return [where for where in both if len(where) < k and lives_on(rows, where)]


def leverages(rows: Sequence[Vector]) -> list[Fraction]:
    """The squared length of each unit's projection on the row space."""
    basis = echelon(rows)
    orthogonal: list[list[Fraction]] = []
    for row in basis:
        rest = list(row)
        for o in orthogonal:
            factor = sum(a * b for a, b in zip(row, o, strict=True)) / sum(b * b for b in o)
            rest = [a - factor * b for a, b in zip(rest, o, strict=True)]
        orthogonal.append(rest)
    return (
        [sum((o[i] ** 2 / sum(b * b for b in o) for o in orthogonal), Fraction(0)) for i in range(len(basis[0]))]
        if basis
        else []
    )
