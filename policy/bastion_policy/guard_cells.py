"""The plans that measure one table of cells: statistics, guard columns, exact counts of units, contributions per unit."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from bastion_plan import nodes as n
from bastion_plan.dtypes import DYN_INT, FLOAT64, INT64, NULL, UINT32, DType
from bastion_plan.expressions import Alias, AnyExpr, Call, Cast, Column, Expr, Literal, Over, Ternary
from bastion_plan.nodes import AnyNode

from bastion_policy.boundary import Boundary, Guard, Statistic, call
from bastion_policy.guard_plans import lenient
from bastion_policy.lineage import OWN, Occurrence
from bastion_policy.verdict import Measure, Measured

INDEX, ROWS, X = f"{OWN}i", f"{OWN}n", f"{OWN}x"
#: rows of cells in which each is another unit's, up to which they are added up unit by unit together with those of other cells
FEW_ROWS = 1 << 17
Steps = Generator[Measure, Measured, Any]
Indexes = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


class Plan(Protocol):
    """Builds the plan of a private frame, with its units carried along, with the numbers of its rows, or without."""

    def __call__(self, carry: bool, rows: bool = False) -> AnyNode:
        """Return the plan."""
        ...


def floats(values: Any) -> Floats:
    """Return measured values as floats, nulls as NaN."""
    if isinstance(values, np.ndarray):
        return values.astype(np.float64)
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def ints(values: Any) -> Indexes:
    """Return measured counts, nulls as 0."""
    if isinstance(values, np.ndarray):
        return values.astype(np.int64)
    return np.array([0 if v is None else v for v in values], dtype=np.int64)


def lit(value: int) -> Literal:
    """Return a number for the judge's own plans."""
    return Literal(DYN_INT, value)


def where(condition: Expr | None, expr: Expr) -> AnyExpr:
    """Return `expr` where the condition holds, else null."""
    return expr if condition is None else Ternary(condition, expr, Literal(NULL))  # type: ignore[arg-type, return-value]


def both(conditions: Sequence[Expr]) -> Expr | None:
    """Return the conjunction of conditions, None if there is none."""
    found: Expr | None = None
    for condition in conditions:
        found = condition if found is None else call("and_", found, condition)
    return found


def plainly(number: AnyExpr, dtype: DType) -> AnyExpr:
    """Return a number in one form: 0 without its sign, NaN without its bits; any other value as it is.

    INVARIANT: numbers that count as one read as one. The engine shows the first it meets: of 0 and -0 that was one person's.
    """
    if not dtype.is_float:
        return number
    # adding 0 is left out by the engine
    known = Ternary(call("is_nan", number), Literal(dtype, math.nan), number)
    return Ternary(call("eq", number, Literal(dtype, 0.0)), Literal(dtype, 0.0), known)


@dataclass
class Cut:
    """A frame cut into cells: the boundary's own rows, the whole table, or a remainder.

    plan: the private frame, with or without units (and numbers of rows). keys: one per key column (none: one cell). name:
    of the kept table. rows_per_unit: an upper bound, None where there is none. nested: by occurrence, how deeply numbers
    of rows are lists. lists: columns that list the rows of cells. tied: how many units must hold a value for it to be the
    smallest or largest. dtypes: of the keys, where they are shown.
    """

    name: str
    plan: Plan
    boundary: Boundary
    keys: tuple[AnyExpr, ...]
    occurrences: tuple[Occurrence, ...]
    rows_per_unit: int | None
    row_units: bool
    nested: Mapping[int, int] = field(default_factory=dict)
    extra: dict[str, AnyExpr] = field(default_factory=dict)
    lists: dict[str, AnyExpr] = field(default_factory=dict)
    tied: int = 1
    dtypes: tuple[DType, ...] = ()

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The judge's names of the keys."""
        return tuple(f"{OWN}k{i}" for i in range(len(self.keys)))

    def table(self) -> AnyNode:
        """Return the plan of the cells: keys, statistics, number of rows, guard columns, in a fixed order."""
        aggs: list[AnyExpr] = [Alias(Call("pl.len"), ROWS)]
        for position, statistic in enumerate(self.boundary.statistics):
            if statistic.guard is not Guard.TIED:
                aggs.append(Alias(lenient(statistic.call), f"{OWN}s{position}"))
        aggs += [Alias(e, name) for name, e in (self.extra | self.lists).items()]
        frame = self.plan(False, bool(self.lists))
        ends = [self._ends(i, s) for i, s in enumerate(self.boundary.statistics) if s.guard is Guard.TIED]
        if not self.keys:
            row: AnyNode = n.Select(frame, tuple(aggs))
            return n.WithRowIndex(n.Concat((row, *ends), "horizontal") if ends else row, INDEX)
        keys = tuple(Alias(k, c) for k, c in zip(self.keys, self.key_columns, strict=True))
        cells: AnyNode = n.GroupBy(frame, keys, tuple(aggs))
        on = tuple(Column(c) for c in self.key_columns)
        for end in ends:
            cells = n.Join(cells, end, how="left", left_on=on, right_on=on, nulls_equal=True)
        floating = [(c, d) for c, d in zip(self.key_columns, self.dtypes, strict=False) if d.is_float]
        if floating:
            cells = n.WithColumns(cells, tuple(Alias(plainly(Column(c), d), c) for c, d in floating))
        # INVARIANT: cells are in the order of their keys, not of first appearance (which would tell whose row is first);
        # so equal cells are merged in the same way every time, else two answers would differ by a small cell.
        return n.WithRowIndex(n.Sort(cells, tuple(Column(c) for c in self.key_columns)), INDEX)

    def _ends(self, position: int, statistic: Statistic) -> AnyNode:
        """Return the smallest or largest of the values that enough units hold, per cell, and how many such there are.

        INVARIANT: a value that fewer hold is looked past as if nobody held it: whether there is one changes nothing.
        """
        alone = self.rows_per_unit == 1 and len(self.occurrences) == 1
        value = lenient(where(both(statistic.population), statistic.terms[0].expr))
        held = n.Filter(n.WithColumns(self.keyed(not alone), (Alias(value, X),)), call("is_not_null", Column(X)))
        keys = tuple(Column(c) for c in self.key_columns)
        units = [None] if alone else [Column(o.unit) for o in self.occurrences]
        counts = [call("len", Column(X)) if u is None else call("n_unique", call("drop_nulls", u)) for u in units]
        each = n.GroupBy(held, (*keys, Column(X)), tuple(Alias(c, f"{X}{i}") for i, c in enumerate(counts)))
        enough = both([call("ge", Column(f"{X}{i}"), lit(self.tied)) for i in range(len(counts))])
        assert enough is not None
        found = (
            Alias(call(statistic.function, Column(X)), f"{OWN}s{position}"),
            Alias(call("count", Column(X)), f"{OWN}e{position}"),
        )
        values = n.Filter(each, enough)  # type: ignore[arg-type]
        return n.GroupBy(values, keys, found) if keys else n.Select(values, found)

    def keyed(self, carry: bool, rows: bool = False) -> AnyNode:
        """Return the frame with the key columns."""
        if not self.keys:
            return self.plan(carry, rows)
        keys = tuple(Alias(k, c) for k, c in zip(self.keys, self.key_columns, strict=True))
        return n.WithColumns(self.plan(carry, rows), keys)

    def subset(self, only: Indexes | None, columns: Sequence[str] = ()) -> tuple[AnyNode, dict[str, Any]]:
        """Return the kept table of cells, or some rows of it, with the tables that this plan needs."""
        wanted = tuple(Column(c) for c in (INDEX, *self.key_columns, *columns))
        cells: AnyNode = n.Select(n.Scan(self.name), wanted)
        if only is None:
            return cells, {}
        name = f"{self.name}.only"
        joined = n.Join(
            cells, n.Scan(name), how="semi", left_on=(Cast(Column(INDEX), INT64),), right_on=(Column("only"),)
        )
        return joined, {name: {"only": np.asarray(only, np.int64)}}

    def located(
        self, carry: bool, only: Indexes | None = None, columns: Sequence[str] = (), *, rows: bool = False
    ) -> tuple[AnyNode, dict[str, Any]]:
        """Return the private rows with the number of their cell (and columns of the cell; rows: with their own number)."""
        if not self.keys and not columns:
            return n.WithColumns(self.plan(carry, rows), (Alias(Literal(UINT32, 0), INDEX),)), {}
        cells, tables = self.subset(only, columns)
        if not self.keys:
            return n.Join(self.plan(carry, rows), cells, how="cross"), tables
        on = tuple(Column(c) for c in self.key_columns)
        return n.Join(self.keyed(carry, rows), cells, left_on=on, right_on=on, nulls_equal=True), tables

    def members(self, only: Indexes) -> Plan:
        """Return the plan of the rows in some of the cells; reads the table `<name>.only`."""

        def plan(carry: bool, rows: bool = False) -> AnyNode:
            cells, _ = self.subset(only)
            on = tuple(Column(c) for c in self.key_columns)
            return n.Join(self.keyed(carry, rows), cells, how="semi", left_on=on, right_on=on, nulls_equal=True)

        return plan


@dataclass
class Measurer:
    """Runs measurements on one cut. tables: what the cut's plan needs besides the kept tables.

    people: units per cell, where they are known already. lone: cells in which every row is another unit's.
    """

    cut: Cut
    size: int = 0
    tables: dict[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    steps: int = 0
    histograms: dict[Any, Any] = field(default_factory=dict)
    people: Floats | None = None
    lone: Flags | None = None

    @property
    def most(self) -> int | Indexes | None:
        """Rows of one unit in a cell at most, in all cells or in each; None: there is no bound.

        INVARIANT (tier bound): where each row of a cell is another unit's, no unit has more than one there.
        """
        most = self.cut.rows_per_unit
        return most if most is None or self.lone is None else np.where(self.lone, 1, most)

    def ask(
        self, plan: AnyNode, tables: Mapping[str, Any] | None = None, returns: tuple[str, ...] | None = None
    ) -> Steps:
        """Measure a plan all of whose columns come back (faster where they are named)."""
        self.steps += 1
        answer = yield Measure(plan, f"{self.cut.name}.m{self.steps}", returns, {**self.tables, **(tables or {})})
        return answer

    def spread(self, answer: Measured, column: str, empty: float = 0.0) -> Floats:
        """Return a measured column by cell number; cells without an answer get `empty`."""
        found = np.full(self.size, empty, dtype=np.float64)
        found[ints(answer[INDEX])] = floats(answer[column])
        return found

    def units(self, occurrence: Occurrence, only: Indexes | None, condition: Expr | None = None) -> Steps:
        """Return the number of distinct units per cell, exactly (of the rows where a condition holds)."""
        if condition is None and self.people is not None:
            return self.people
        plan, tables = self.cut.located(True, only)
        present: Expr = call("is_not_null", Column(occurrence.unit))
        if condition is not None:
            present = call("and_", present, lenient(condition))
        rows = n.Filter(plan, present)  # type: ignore[arg-type]
        counted = n.GroupBy(rows, (Column(INDEX),), (Alias(call("n_unique", Column(occurrence.unit)), X),))
        answer = yield from self.ask(counted, tables, (INDEX, X))
        return self.spread(answer, X)

    def fewest(self, only: Indexes | None, condition: Expr | None = None) -> Steps:
        """Return the smallest number of distinct units over all occurrences, per cell."""
        found: Floats | None = None
        for occurrence in self.cut.occurrences:
            counted = yield from self.units(occurrence, only, condition)
            found = counted if found is None else np.minimum(found, counted)
        assert found is not None
        return found

    def at_least(self, k: int, rows: Any, only: Flags, condition: Expr | None = None) -> Steps:
        """Return in which cells a condition is met by at least k units.

        INVARIANT (tier bound): more than (k - 1) * M rows are of at least k units, if no unit has more than M of them:
        k - 1 units have at most (k - 1) * M rows. M is void (None) where rows of a unit may repeat. The bound only ever
        clears cells; the others are counted exactly. In cells in which every row is another unit's M is 1.
        """
        most = self.cut.rows_per_unit
        found = rows >= k if most == 1 else rows > (k - 1) * most if most is not None else np.zeros(self.size, bool)
        if self.lone is not None:
            found = found | (self.lone & (rows >= k))
        open_cells = only & ~found & (rows >= (k if len(self.cut.occurrences) == 1 else 1))
        if most == 1 or not open_cells.any():
            return found
        exact = yield from self.fewest(np.flatnonzero(open_cells), condition)
        return found | (open_cells & (exact >= k))

    def contributions(
        self,
        occurrence: Occurrence,
        only: Indexes,
        exprs: Sequence[AnyExpr],
        *,
        signed: bool = False,
        weighed: bool = False,
    ) -> Steps:
        """Return (total, largest, second largest) contribution per cell, summed per unit, of each of some expressions, in one pass.

        exprs: contributions of a row, at least 0; may use the number of the cell. signed: they may be below 0, and what a unit's
        rows come to counts by its size. weighed: they read how many rows of the table a row stands for.
        """
        alone = self.cut.rows_per_unit == 1 and len(self.cut.occurrences) == 1
        if weighed or alone or self.lone is None or not self.lone[only].any():
            return (yield from self._contributions(occurrence, only, exprs, signed=signed, alone=alone and not weighed))
        # INVARIANT: where each row of a cell is another unit's, what a unit's rows come to is the row
        lone = self.lone
        assert self.people is not None
        if not lone[only].all() and self.people[only[lone[only]]].sum() <= FEW_ROWS:
            # another pass over the table costs more than adding so few rows up person by person, which comes to the same
            return (yield from self._contributions(occurrence, only, exprs, signed=signed, alone=False))
        found = yield from self._contributions(occurrence, only[lone[only]], exprs, signed=signed, alone=True)
        if lone[only].all():
            return found
        others = yield from self._contributions(occurrence, only[~lone[only]], exprs, signed=signed, alone=False)
        return [
            tuple(np.where(lone, a, b) for a, b in zip(one, two, strict=True))
            for one, two in zip(found, others, strict=True)
        ]

    def _contributions(
        self, occurrence: Occurrence, only: Indexes, exprs: Sequence[AnyExpr], *, signed: bool, alone: bool
    ) -> Steps:
        """Return what `contributions` does. alone: each row of these cells is another unit's."""
        plan, tables = self.cut.located(not alone, only)
        names = [f"{X}{i}" for i in range(len(exprs))]
        each = (call("abs", expr) if signed and alone else expr for expr in exprs)
        rows: AnyNode = n.WithColumns(plan, tuple(map(Alias, each, names)))
        if not alone:
            present = call("is_not_null", Column(occurrence.unit))
            sums = (call("sum", Column(name)) for name in names)
            added = (Alias(call("abs", one) if signed else one, name) for one, name in zip(sums, names, strict=True))
            rows = n.GroupBy(n.Filter(rows, present), (Column(INDEX), Column(occurrence.unit)), tuple(added))
        # the largest beside each row: where it is compared cell by cell, many small cells take three times as long
        tops = (Alias(Over(call("max", Column(name)), (Column(INDEX),)), f"{name}o") for name in names)
        rows = n.WithColumns(rows, tuple(tops))
        aggs: list[AnyExpr] = []
        for name in names:
            x, top = Column(name), Column(f"{name}o")
            below = call("max", where(call("lt", x, top), x))
            aggs += [
                Alias(call("sum", x), f"{name}t"),
                Alias(call("fill_null", Cast(call("max", top), FLOAT64), Literal(FLOAT64, 0.0)), f"{name}a"),
                Alias(call("fill_null", Cast(below, FLOAT64), Literal(FLOAT64, 0.0)), f"{name}b"),
                Alias(call("sum", call("eq", x, top)), f"{name}m"),
            ]
        returns = (INDEX, *(f"{name}{c}" for name in names for c in "tabm"))
        answer = yield from self.ask(n.GroupBy(rows, (Column(INDEX),), tuple(aggs)), tables, returns)
        found = []
        for name in names:
            total, one, two, ties = (self.spread(answer, f"{name}{c}") for c in "tabm")
            found.append((total, one, np.where(ties >= 2, one, two)))
        return found
