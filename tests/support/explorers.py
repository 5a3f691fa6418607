"""Random explorers: sessions of 0- to 3-way tables with filters, what of them is shown, and what follows from it.

The check is independent of the judge. Which people an answered number is about is found out from the data alone: the number
itself is compared with that of the asked cell, of every population answered before, and of what is missing from the table.
What an attacker who knows all these populations can compute is then a question of linear algebra (`harness_algebra`).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars
from bastion_policy.model import Policy, Role
from drive import World
from harness_algebra import Leaks, Mask, leaks, people_by_svd
from harness_populations import stored_populations
from query import Q

import bastion.expressions as pl

OTHER = "(other)"
SHARED = Path(__file__).parents[2].parent / "shared" / "data"
TITANIC = Path(__file__).parents[2] / "notebooks" / "data" / "titanic.csv"
ADULT = SHARED / "adult.csv.gz"


@dataclass(frozen=True)
class Data:
    """A table as explorers use it: key columns, columns that are averaged, and filters (text of column, test, values)."""

    name: str
    frame: polars.DataFrame
    keys: tuple[str, ...]
    measures: tuple[str, ...]
    cuts: dict[str, tuple[float, ...]]
    roles: dict[str, Role | str] = field(default_factory=dict)


def titanic() -> Data:
    """The 891 passengers."""
    frame = polars.read_csv(TITANIC)
    return Data(
        "titanic", frame, ("Sex", "Pclass", "Embarked", "Survived", "SibSp", "Parch"), ("Fare", "Age", "Survived"),
        {"Age": (5, 18, 30, 40, 60), "Fare": (8, 15, 30, 60)},
        {"Name": "identifier", "Ticket": "identifier", "Cabin": "identifier"},
    )  # fmt: skip


def adult() -> Data | None:
    """The 32,561 rows of the 1994 census extract; None where the file is not there."""
    if not ADULT.exists():
        return None
    frame = polars.read_csv(ADULT)
    frame = frame.rename({frame.columns[0]: "id"}).with_columns(polars.col(polars.String).str.strip_chars())
    keys = ("gender", "race", "income", "relationship", "workclass", "marital-status", "education", "occupation")
    cuts = {"age": (25.0, 35.0, 50.0, 65.0), "hours-per-week": (20.0, 40.0, 50.0)}
    return Data("adult", frame, keys, ("age", "hours-per-week", "education-num"), cuts, {"age": "quasi"})


@dataclass(frozen=True)
class Query:
    """One table: who is looked at, by which keys, and whose mean is asked beside the count (None: the count alone)."""

    plan: Q
    within: Mask
    keys: tuple[str, ...]
    measure: str | None


def random_query(data: Data, rng: np.random.Generator) -> Query:
    """Return a 0- to 3-way table with 0 to 2 filters."""
    plan, within = Q("t"), np.ones(data.frame.height, bool)
    for _ in range(int(rng.choice([0, 1, 1, 2]))):
        condition, mask = _condition(data, rng)
        plan, within = plan.filter(condition), within & mask
    ways = int(rng.choice([0, 1, 1, 2, 2, 3]))
    keys = tuple(str(k) for k in rng.choice(data.keys, ways, replace=False))
    measure = None if rng.random() < 0.25 else str(rng.choice([m for m in data.measures if m not in keys]))
    outputs = {"n": pl.len()} | ({"m": pl.col(measure).mean()} if measure else {})
    plan = plan.group_by(*keys).agg(**outputs) if keys else plan.select(**outputs)
    return Query(plan, within, keys, measure)


def _condition(data: Data, rng: np.random.Generator) -> tuple[Any, Mask]:
    if rng.random() < 0.4:
        column = str(rng.choice(list(data.cuts)))
        cut = float(rng.choice(data.cuts[column]))
        values = data.frame[column].cast(polars.Float64).fill_null(math.nan).to_numpy()
        upward = rng.random() < 0.5
        with np.errstate(invalid="ignore"):
            mask = values >= cut if upward else values < cut
        # NaN compares as the greatest number in Polars; here it only stands for a missing value
        return (pl.col(column) >= cut if upward else pl.col(column) < cut), mask & ~np.isnan(values)
    column = str(rng.choice(data.keys))
    found = data.frame[column].drop_nulls().unique().sort().to_list()
    value = found[int(rng.integers(len(found)))]
    mask = (data.frame[column] == value).fill_null(False).to_numpy()
    if rng.random() < 0.3:
        return pl.col(column) != value, (data.frame[column] != value).fill_null(False).to_numpy()
    return pl.col(column) == value, mask


# -- what was answered ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recovered:
    """What follows from a session: people; groups of 2 to k - 1 people that no answer told apart; cells below the threshold;
    cells that were hidden; combinations found that live on fewer than k people."""

    people: int
    groups: int
    small: int
    hidden: int
    supports: int


@dataclass
class Session:
    """One explorer's session, and all that follows from it.

    outcomes: cells over the threshold by what became of them (own, merged, remainder, hidden). rows: per column the
    populations that were answered. watched: per column the cells below the threshold and those hidden.
    distances: of each shown cell, the people by whom its population differs from what was asked.
    unexplained: released numbers for which no population was found.
    """

    data: Data
    k: int
    outcomes: Counter[str] = field(default_factory=Counter)
    rows: dict[str, list[Mask]] = field(default_factory=dict)
    small: dict[str, list[Mask]] = field(default_factory=dict)
    hidden: dict[str, list[Mask]] = field(default_factory=dict)
    known: dict[bytes, Mask] = field(default_factory=dict)
    stored: dict[bytes, Mask] = field(default_factory=dict)
    unexplained: list[str] = field(default_factory=list)
    distances: list[int] = field(default_factory=list)
    small_tables: int = 0
    queries: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        everybody = np.ones(self.data.frame.height, bool)
        self.known[np.packbits(everybody).tobytes()] = everybody
        self._values = {
            m: self.data.frame[m].cast(polars.Float64).fill_null(math.nan).to_numpy() for m in self.data.measures
        }
        self._seen: dict[tuple[str, bytes], None] = {}
        self._parts = 0

    # -- reconstructing

    def note(self, query: Query, table: polars.DataFrame, world: World) -> None:
        """Take in one answer (an empty table: nothing was shown) of a world."""
        more, self._parts = stored_populations(world, self._parts)
        for mask in more:
            self.stored.setdefault(np.packbits(mask).tobytes(), mask)
        self.queries += 1
        cells = self._cells(query)
        sizes = {key: int(mask.sum()) for key, mask in cells.items()}
        self.small_tables += any(size < self.k for size in sizes.values())
        shown: dict[tuple[Any, ...], dict[str, Any]] = {}
        rest: list[dict[str, Any]] = []
        for row in table.iter_rows(named=True):
            key = tuple(row[c] for c in query.keys)
            if self._is_rest(query, key, row, cells):
                rest.append(row)
            else:
                shown[key] = row
        missing = [key for key in cells if key not in shown]
        union = np.logical_or.reduce([cells[key] for key in missing]) if missing else None
        populations: list[Mask] = []
        answered: dict[tuple[Any, ...], Mask] = {}
        for key, row in shown.items():
            own = cells.get(key, np.zeros(self.data.frame.height, bool))
            # a mean of those who have a value may be that of other people than the count beside it
            for part in self._parts_of(query, row, own):
                found = self._explain(query, part, [own])
                if found is None:
                    self.unexplained.append(f"{query.plan.plan} {part}")
                else:
                    answered.setdefault(key, found)
                    populations.append(found)
                    self._release(query, part, found)
        in_rest = None
        for row in rest:
            in_rest = self._explain(query, row, [] if union is None else self._unions(cells, missing, union))
            if in_rest is None:
                self.unexplained.append(f"{query.plan.plan} {row}")
            else:
                populations.append(in_rest)
                self._release(query, row, in_rest)
        self._count(query, cells, shown, answered, in_rest)
        for mask in populations:
            self.known.setdefault(np.packbits(mask).tobytes(), mask)

    def _parts_of(self, query: Query, row: dict[str, Any], own: Mask) -> list[dict[str, Any]]:
        """Return the row, or its numbers one by one where no one population has both."""
        if "m" not in row or None in (row["n"], row["m"]) or self._explain(query, row, [own]) is not None:
            return [row]
        return [row | {"m": None}, row | {"n": None}]

    def _cells(self, query: Query) -> dict[tuple[Any, ...], Mask]:
        """Return every cell of the table that was asked, from the data."""
        height = self.data.frame.height
        if not query.keys:
            return {(): query.within}
        numbered = self.data.frame.select(query.keys).with_columns(i=polars.int_range(polars.len()))
        found: dict[tuple[Any, ...], Mask] = {}
        for key, part in numbered.filter(query.within).group_by(*query.keys, maintain_order=True):
            mask = np.zeros(height, bool)
            mask[part["i"].to_numpy()] = True
            found[key] = mask
        return found

    def _is_rest(
        self, query: Query, key: tuple[Any, ...], row: dict[str, Any], cells: dict[tuple[Any, ...], Mask]
    ) -> bool:
        if not query.keys:
            return False
        text = [i for i, c in enumerate(query.keys) if self.data.frame[c].dtype == polars.String]
        if text:
            return all(key[i] == OTHER for i in text)
        if any(v is not None for v in key):
            return False
        # a key of nulls is the remainder row or the cell of those without keys
        return key not in cells or self._explain(query, row, [cells[key]]) is None

    def _unions(
        self, cells: dict[tuple[Any, ...], Mask], missing: Sequence[tuple[Any, ...]], union: Mask
    ) -> list[Mask]:
        """Return what a remainder row may be about: all that is missing, or the smallest of it."""
        ordered = sorted(missing, key=lambda key: int(cells[key].sum()))
        found = [union]
        for most in range(len(ordered) - 1, 0, -1):
            found.append(np.logical_or.reduce([cells[key] for key in ordered[:most]]))
        return found

    def _explain(self, query: Query, row: dict[str, Any], first: Sequence[Mask]) -> Mask | None:
        """Return the population whose numbers these are."""
        if all(row[c] is None for c in ("n", "m") if c in row):
            return first[0] if len(first) else None
        found = next((mask for mask in first if self._fits(query, row, mask)), None)
        if found is not None:
            return found
        fitting = [mask for mask in self.known.values() if self._fits(query, row, mask)]
        fitting = fitting or [mask for mask in self.stored.values() if self._fits(query, row, mask)]
        return min(fitting, key=lambda mask: int((mask ^ first[0]).sum()) if len(first) else 0, default=None)

    def _fits(self, query: Query, row: dict[str, Any], mask: Mask) -> bool:
        if row["n"] is not None and row["n"] != int(mask.sum()):
            return False
        if query.measure is None or row["m"] is None:
            return True
        values = self._values[query.measure][mask]
        values = values[~np.isnan(values)]
        return bool(values.size) and math.isclose(float(values.mean()), row["m"], rel_tol=1e-9, abs_tol=1e-9)

    # -- counting

    def _release(self, query: Query, row: dict[str, Any], mask: Mask) -> None:
        if row["n"] is not None:
            self._add("n", mask)
        if query.measure is not None and row["m"] is not None:
            self._add(query.measure, self._present(query.measure, mask))

    def _add(self, column: str, mask: Mask) -> None:
        key = (column, np.packbits(mask).tobytes())
        if key not in self._seen:
            self._seen[key] = None
            self.rows.setdefault(column, []).append(mask)

    def _present(self, column: str, mask: Mask) -> Mask:
        return mask & ~np.isnan(self._values[column])

    def _count(
        self,
        query: Query,
        cells: dict[tuple[Any, ...], Mask],
        shown: dict[tuple[Any, ...], dict[str, Any]],
        answered: dict[tuple[Any, ...], Mask],
        in_rest: Mask | None,
    ) -> None:
        for key, mask in cells.items():
            for output, column in (("n", "n"), ("m", query.measure)):
                if column is None:
                    continue
                people = mask if output == "n" else self._present(column, mask)
                if people.sum() < self.k:
                    if people.any():
                        self.small.setdefault(column, []).append(people)
                    continue
                row = shown.get(key)
                if row is not None and row[output] is not None:
                    found = answered.get(key)
                    same = found is not None and np.array_equal(found, mask)
                    self.outcomes["own" if same else "merged"] += 1
                    if found is not None:
                        self.distances.append(int(np.count_nonzero(found ^ mask)))
                elif row is None and in_rest is not None and not (mask & ~in_rest).any():
                    self.outcomes["remainder"] += 1
                else:
                    self.outcomes["hidden"] += 1
                    self.hidden.setdefault(column, []).append(people)

    # -- what follows

    def leaks(self) -> dict[str, Leaks]:
        """Return what follows from the released numbers, per source column ("n": the column of ones).

        Watched are the cells below the threshold and then those that were hidden: see `recovered`.
        """
        units = self.data.frame.height
        return {
            c: leaks(r, units, self.k, [*self.small.get(c, []), *self.hidden.get(c, [])]) for c, r in self.rows.items()
        }

    def recovered(self) -> Recovered:
        """Return how many people, small cells and hidden cells are exactly recoverable, over all columns."""
        found = self.leaks()
        small = sum(i < len(self.small.get(c, [])) for c, f in found.items() for i in f.cells)
        return Recovered(
            len({i for f in found.values() for i in f.people}),
            sum(len(f.atoms) for f in found.values()),
            small,
            sum(len(f.cells) for f in found.values()) - small,
            sum(f.supports for f in found.values()),
        )

    def by_svd(self) -> int:
        """Return the people that follow, over all columns, by singular values."""
        units = self.data.frame.height
        found: set[int] = set()
        for rows in self.rows.values():
            found.update(people_by_svd(rows, units))
        return len(found)

    def share(self, *outcomes: str) -> float:
        """Return the share of the cells over the threshold with one of these outcomes."""
        total = sum(self.outcomes.values())
        return sum(self.outcomes[o] for o in outcomes) / total if total else 0.0


def policy(k: int = 10, weaken: tuple[str, ...] = ()) -> Policy:
    """The default profile; what fails a rule is left out, so that the safe part comes at once."""
    from bastion_policy.model import Aggregation, Suppress

    return Policy(Aggregation(k), Suppress(), weaken=weaken)


def explore(data: Data, seed: int, queries: int = 40, k: int = 10, weaken: tuple[str, ...] = ()) -> Session:
    """Return a session of random tables, driven through the judge with its history."""
    rng = np.random.default_rng([seed, 40])
    world = World(remembers=True).add("t", data.frame, policy(k, weaken), data.roles)
    session = Session(data, k)
    for _ in range(queries):
        query = random_query(data, rng)
        start = time.perf_counter()
        answer = world.ask(query.plan.plan)
        session.seconds += time.perf_counter() - start
        session.note(query, polars.DataFrame() if answer.table is None else answer.table, world)
    return session
