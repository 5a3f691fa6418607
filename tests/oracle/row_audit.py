"""What linear combinations of everything released give away, over fractions, from the definition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from row_follows import PRIME
from row_follows import echelon as modular

#: marks systems whose unknowns are people: the first of their rows stands for each
PEOPLE = "people"
Variable = tuple[str, int]  # a row of a dataset


class Systems:
    """Released sums, one system of rows per source column; variables are the rows of the owner's tables.

    whole: the rows of a dataset that are told of from the start, in a system, and how often: those with a value. What may be told
    is judged beside them; that something was told only by what was: a whole that would give somebody away is never told.
    pairs, caps: of a dataset, whether no combination may be about two atoms of few units either, and how much leverage a unit
    may have at most (docs/guard.md: `linear_audit = { pairs = true, tau = ... }`).
    """

    def __init__(
        self, units: Mapping[str, Sequence[Any]], whole: Callable[[Any, str], Mapping[int, int]] = lambda *_: {},
        pairs: frozenset[str] = frozenset(), caps: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        self.units, self.whole, self.pairs, self.caps = units, whole, pairs, caps or {}
        self.begun: set[tuple[Any, str]] = set()
        self.rows: dict[Any, list[dict[Variable, Any]]] = {}
        self.assumed: dict[Any, list[dict[Variable, Any]]] = {}
        self.hidden: dict[Any, list[dict[Variable, Any]]] = {}
        #: systems and tables of which something was told since they were last looked at
        self.changed: set[tuple[Any, str]] = set()

    def copy(self) -> Systems:
        """The same releases, to try more."""
        other = Systems(self.units, self.whole, self.pairs, self.caps)
        other.begun = set(self.begun)
        other.rows = {system: list(rows) for system, rows in self.rows.items()}
        other.assumed = {system: list(rows) for system, rows in self.assumed.items()}
        other.hidden = {system: list(rows) for system, rows in self.hidden.items()}
        other.changed = set(self.changed)
        return other

    def could(self, options: Iterable[Any], k: int) -> bool:
        """Whether one of some choices could be released on top without isolating anybody; it is added then."""
        for option in options:
            trial = self.copy()
            trial.changed.clear()
            for system, weights in option.vectors:
                trial.add(system, weights)
            if not trial.isolated(k, any_support=True):
                self.rows, self.begun, self.assumed = trial.rows, trial.begun, trial.assumed
                return True
        return False

    def add(self, system: Any, weights: Mapping[Variable, Any]) -> None:
        """Note a released number: the sum of weight x value over the rows of a population."""
        row = {variable: exact(w) for variable, w in weights.items() if w}
        known = self.rows.setdefault(system, [])
        for dataset in {d for d, _ in row}:
            if (system, dataset) not in self.begun:
                self.begun.add((system, dataset))
                everybody = {(dataset, i): w for i, w in self.whole(system, dataset).items()}
                if everybody:
                    self.assumed.setdefault(system, []).append(everybody)
        if row and row not in known:
            known.append(row)
            self.changed |= {(system, d) for d, _ in row}

    def hide(self, system: Any, weights: Mapping[Variable, Any]) -> None:
        """Note a suppressed cell; what is determined already cannot be protected."""
        row = {variable: exact(w) for variable, w in weights.items() if w}
        known = self.hidden.setdefault(system, [])
        if row and row not in known and not spanned(self._beside(system), row):
            known.append(row)

    def isolated(self, k: int, *, any_support: bool = False) -> list[tuple[Any, list[Variable]]]:
        """Atoms (rows with equal weights everywhere) of fewer than k units, or single units, on which a combination lives.

        any_support: also what a row of the reduced form lives on, where that is not surely about k units: neither is there
        an atom of k of them, nor more variables than k - 1 units have (`AuditRules.people` of the audit's page).
        """
        found = []
        told_of = self._beside if any_support else self.rows.__getitem__
        for system in {system for system, _ in self.changed}:
            tables = {dataset for one, dataset in self.changed if one == system}
            for dataset in sorted(tables):
                rows = [{v: w for v, w in r.items() if v[0] == dataset} for r in told_of(system)]
                least = (k - 1) * self._most(system, dataset) + 1 if any_support else None
                exposed = self._isolated(rows, k, least)
                if dataset in self.pairs and not exposed:
                    exposed = self._in_pairs(rows, k)
                if dataset in self.caps and not exposed and self._most(system, dataset) == 1:
                    exposed = self._above(rows, self.caps[dataset])
                found += [(system, rows) for rows in exposed]
            hidden = [h for h in self.hidden.get(system, []) if {d for d, _ in h} & tables]
            found += [(system, sorted(h)) for h in hidden if spanned(told_of(system), h)]
        self.changed.clear()
        return found

    def _beside(self, system: Any) -> list[dict[Variable, Any]]:
        """What was told, and the whole tables."""
        rows = self.rows.get(system, [])
        return [*(w for w in self.assumed.get(system, []) if w not in rows), *rows]

    def _most(self, system: Any, dataset: str) -> int:
        """The most variables of a unit: rows of a table, or one where the unknowns are people."""
        if isinstance(system, tuple) and system[-1] == PEOPLE:
            return 1
        return max(Counter(self.units[dataset]).values())

    def _isolated(self, rows: list[dict[Variable, Any]], k: int, least: int | None) -> list[list[Variable]]:
        atoms: dict[tuple[Any, ...], list[Variable]] = {}
        for variable in {v for row in rows for v in row}:
            atoms.setdefault(tuple(row.get(variable, 0) for row in rows), []).append(variable)
        if least is not None and (found := self._unproven(atoms, k, least)):
            return found
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

    def _in_pairs(self, rows: list[dict[Variable, Any]], k: int) -> list[list[Variable]]:
        """Two atoms of fewer than k units together on which a combination lives.

        Of the reduced form it is one row, or two that are the same but for their pivots, up to a factor.
        """
        atoms: dict[tuple[Any, ...], list[Variable]] = {}
        for variable in {v for row in rows for v in row}:
            atoms.setdefault(tuple(row.get(variable, 0) for row in rows), []).append(variable)
        members = list(atoms.values())
        reduced, pivots = modular([[remainder(w) for w in column] for column in zip(*atoms, strict=True)], len(atoms))
        tails: dict[tuple[tuple[int, int], ...], list[int]] = {}
        pairs: list[tuple[int, int]] = []
        for row, pivot in zip(reduced, pivots, strict=True):
            tail = [(j, w) for j, w in enumerate(row) if w and j != pivot]
            if len(tail) == 1:
                pairs.append((pivot, tail[0][0]))
            if tail:
                lead = pow(tail[0][1], -1, PRIME)
                alike = tails.setdefault(tuple((j, w * lead % PRIME) for j, w in tail), [])
                pairs += [(other, pivot) for other in alike]
                alike.append(pivot)
        for pair in pairs:
            if len({self._unit(v) for j in pair for v in members[j]}) < k:
                return [sorted(v for j in pair for v in members[j])]
        return []

    def _above(self, rows: list[dict[Variable, Any]], cap: float) -> list[list[Variable]]:
        """Atoms in which a unit has more leverage: the squared length of what the released rows make up of it alone."""
        atoms: dict[tuple[Any, ...], list[Variable]] = {}
        for variable in {v for row in rows for v in row}:
            atoms.setdefault(tuple(row.get(variable, 0) for row in rows), []).append(variable)
        sizes = np.array([len(m) for m in atoms.values()], dtype=float)
        told = np.array([[float(w) for w in key] for key in atoms]).T * np.sqrt(sizes)
        _, singular, basis = np.linalg.svd(told, full_matrices=False)
        each = (basis[singular > 1e-9 * singular[0]] ** 2).sum(axis=0) / sizes
        return [sorted(m) for m, x in zip(atoms.values(), each, strict=True) if x > cap * (1 + 1e-6)]

    def _unproven(self, atoms: Mapping[tuple[Any, ...], list[Variable]], k: int, least: int) -> list[list[Variable]]:
        """What a combination lives on that has no atom of k units, and fewer variables than are surely of k units.

        The large atoms are eliminated first, the small ones in two orders: a row that is found is a combination.
        """
        people = {key: len({self._unit(v) for v in members}) for key, members in atoms.items()}
        for turn in (1, -1):
            order = sorted(atoms, key=lambda key: (-min(people[key], k), turn * min(atoms[key])[1]))
            rows = [[remainder(w) for w in column] for column in zip(*order, strict=True)]
            for row in modular(rows, len(order))[0]:
                where = [key for key, w in zip(order, row, strict=True) if w]
                if all(people[key] < k for key in where) and sum(len(atoms[key]) for key in where) < least:
                    return [sorted(v for key in where for v in atoms[key])]
        return []

    def _unit(self, variable: Variable) -> Any:
        return self.units[variable[0]][variable[1]]


def remainder(weight: Any) -> int:
    """A weight modulo the prime."""
    return weight if isinstance(weight, int) else weight.numerator * pow(weight.denominator, -1, PRIME) % PRIME


def exact(weight: Any) -> Any:
    """A weight as a rational number."""
    return weight if isinstance(weight, int) else Fraction(weight)


def spanned(rows: Sequence[dict[Variable, Any]], target: dict[Variable, Any]) -> bool:
    """Whether a row is a combination of others."""
    if not target.keys() <= {v for r in rows for v in r}:
        return False
    columns = {tuple(r.get(v, 0) for r in (*rows, target)) for v in {v for r in (*rows, target) for v in r}}
    if any(all(not w for w in c[:-1]) for c in columns):
        return False
    everything = [list(row) for row in zip(*columns, strict=True)]
    return len(echelon(everything[:-1])) == len(echelon(everything))


def echelon(rows: list[list[Fraction]]) -> list[list[Fraction]]:
    """The reduced row echelon form."""
    rows, done = [[Fraction(w) for w in r] for r in rows], 0
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
