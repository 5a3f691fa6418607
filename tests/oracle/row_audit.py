"""What linear combinations of everything released give away, over fractions, from the definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

Variable = tuple[str, int]  # a row of a dataset


class Systems:
    """Released sums, one system of rows per source column; variables are the rows of the owner's tables."""

    def __init__(self, units: Mapping[str, Sequence[Any]]) -> None:
        self.units = units
        self.rows: dict[Any, list[dict[Variable, Fraction]]] = {}
        self.changed: set[Any] = set()

    def add(self, system: Any, weights: Mapping[Variable, Any]) -> None:
        """Note a released number: the sum of weight x value over the rows of a population."""
        row = {variable: Fraction(w) for variable, w in weights.items() if w}
        known = self.rows.setdefault(system, [])
        if row and row not in known:
            known.append(row)
            self.changed.add(system)

    def isolated(self, k: int) -> list[tuple[Any, list[Variable]]]:
        """Atoms (rows with equal weights everywhere) of fewer than k units, or single units, on which a combination lives."""
        found = []
        for system in self.changed:
            for dataset in {d for row in self.rows[system] for d, _ in row}:
                exposed = self._isolated([{v: w for v, w in r.items() if v[0] == dataset} for r in self.rows[system]], k)
                found += [(system, rows) for rows in exposed]
        self.changed.clear()
        return found

    def _isolated(self, rows: list[dict[Variable, Fraction]], k: int) -> list[list[Variable]]:
        atoms: dict[tuple[Fraction, ...], list[Variable]] = {}
        for variable in {v for row in rows for v in row}:
            atoms.setdefault(tuple(row.get(variable, Fraction(0)) for row in rows), []).append(variable)
        members = list(atoms.values())
        reduced = echelon([list(column) for column in zip(*atoms, strict=True)])
        found = []
        for row in reduced:
            where = [j for j, w in enumerate(row) if w]
            people = {self._unit(v) for j in where for v in members[j]}
            if len(people) < k and (len(where) == 1 or len(people) == 1):
                found.append(sorted(v for j in where for v in members[j]))
        own: dict[Any, list[int]] = {}
        for j, atom in enumerate(members):
            people = {self._unit(v) for v in atom}
            if len(people) == 1:
                own.setdefault(people.pop(), []).append(j)
        for columns in own.values():
            if len(columns) > 1 and lives_on(reduced, columns):
                found.append(sorted(v for j in columns for v in members[j]))
        return found

    def _unit(self, variable: Variable) -> Any:
        return self.units[variable[0]][variable[1]]


def echelon(rows: list[list[Fraction]]) -> list[list[Fraction]]:
    """The reduced row echelon form."""
    rows, done = [list(r) for r in rows], 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((i for i in range(done, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[done], rows[pivot] = rows[pivot], rows[done]
        lead = rows[done][column]
        rows[done] = [w / lead for w in rows[done]]
        for i, row in enumerate(rows):
            if i != done and row[column]:
                factor = row[column]
                rows[i] = [a - factor * b for a, b in zip(row, rows[done], strict=True)]
        done += 1
        if done == len(rows):
            break
    return rows[:done]


def lives_on(reduced: list[list[Fraction]], columns: Sequence[int]) -> bool:
    """Whether a combination vanishes on all other columns."""
    others = [j for j in range(len(reduced[0])) if j not in columns] if reduced else []
    return len(reduced) > len(echelon([[row[j] for j in others] for row in reduced]))
