"""What may leave of a boundary: a plan that reads the cells that are shown, and an account of what became of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bastion_plan import nodes as n
from bastion_plan.dtypes import BOOLEAN, DATE, FLOAT64, INT32, INT64, NULL, STRING, UINT32, DType
from bastion_plan.expressions import Alias, AnyExpr, Cast, Column, Expr, Literal, Ternary
from bastion_plan.nodes import AnyNode

from bastion_policy.boundary import REST, Boundary, Guard, Output, call
from bastion_policy.guard_cells import INDEX, ROWS, Cut, Flags, Indexes, Steps, plainly
from bastion_policy.judge_rules import Judged
from bastion_policy.judge_strict import as_shown
from bastion_policy.lineage import OWN, World
from bastion_policy.model import Effective
from bastion_policy.verdict import Measure

REMAINDER = "(other)"
#: digits of fractions: the last ones are those of the order in which rows were added up
DIGITS, DIGITS_32 = 12, 6


@dataclass
class Cells:
    """What became of one boundary.

    plan: reads the cells that may leave. merged: rows answered as a stored population or folded into the remainder.
    again: of these, rows answered as a stored population. coverage: share of all units who are in what is shown, if known.
    hidden: cells whose statistics were taken out, total: all cells that could be shown. smallest: rows of the smallest
    cell that is shown. empty: nothing is shown. left_out: steps behind leave the remainder row out.
    coarse: there are covariances in it. failed: rules that failed, with the output columns concerned.
    """

    plan: AnyNode
    merged: int = 0
    again: int = 0
    coverage: float | None = None
    hidden: int = 0
    total: int = 0
    smallest: int = 0
    empty: bool = False
    left_out: bool = False
    coarse: bool = False
    failed: dict[str, set[str]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Near:
    """Cells that are answered as stored populations: `numbers[i]` is the row of `cells[i]` in the stored ones' table.

    places: (part, stored) of its rows.
    """

    cut: Cut
    judged: Judged
    cells: Indexes
    numbers: Indexes
    places: list[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Answered:
    """How the cells of a boundary are answered.

    judged: the cells, each as itself. own, whole, members: cells that stand for themselves, those answered as everybody, those
    put together. everybody, others: the whole table and the remainder, judged. near: those answered as stored populations.
    """

    judged: Judged
    own: Flags
    whole: Flags
    members: Indexes
    everybody: tuple[Cut, Judged] | None
    others: tuple[Cut, Judged] | None
    near: Near | None


@dataclass(frozen=True)
class Leaving:
    """Puts together what may leave of a boundary. kept: guard columns that are at hand."""

    boundary: Boundary
    effective: Effective
    world: World
    name: str
    kept: frozenset[str]

    def compose(self, cut: Cut, answered: Answered) -> Steps:
        """Return Cells: those of their own, as the whole table, as stored populations, and the remainder row."""
        judged, own, near = answered.judged, answered.own, answered.near
        everybody, others = answered.everybody, answered.others
        tables: dict[str, Any] = {}
        parts: list[AnyNode] = []
        used = self.used()
        plain = bool(own.all()) and not judged.swapped and not judged.without and not judged.stored
        plain = plain and all(bool(judged.shown[i].all()) for i in used)
        if plain:
            parts.append(self._stats(n.Scan(cut.name), cut.keys, {}, judged))
        elif own.any():
            flags = self._flags(judged, own)
            tables[f"{cut.name}.flags"] = flags
            beside = n.Concat((n.Scan(cut.name), n.Scan(f"{cut.name}.flags")), "horizontal")
            parts.append(self._stats(n.Filter(beside, Column(f"{OWN}own")), cut.keys, flags, judged))
        merged = 0
        if everybody is not None and answered.whole.any():
            parts.append(self._spread(cut, f"{cut.name}.whole", np.flatnonzero(answered.whole), everybody, tables))
            merged += int(answered.whole.sum())
        if near is not None:
            parts.append(self._as_stored(cut, near, tables))
            merged += near.cells.size
        if others is not None and self.boundary.window:
            parts.append(self._spread(cut, f"{cut.name}.others", answered.members, others, tables))
        elif others is not None:
            parts.append(self._one_row(others, tables))
            merged += 1
        for part in (judged, *(p[1] for p in (everybody, others) if p is not None)):
            merged += max((int((~np.isnan(v)).sum()) for v in part.stored.values()), default=0)
        left_out = others is not None and self.boundary.marked
        if self.boundary.marked:
            parts = [self._marked(p, rest=left_out and p is parts[-1]) for p in parts]
        again = merged - int(others is not None and not self.boundary.window)
        cells = Cells(n.Scan(f"{self.name}o"), merged, again, empty=not parts, left_out=left_out)
        plan = self.output(cut, parts, joined=near is not None)
        self._account(cells, answered)
        cells.coarse = any(s.guard is Guard.PRODUCTS for s in self.boundary.statistics)
        if not tables:
            # nothing of the judge's own goes into it: what may leave is read straight from the kept table
            cells.plan = plan
            return cells
        yield Measure(plan, f"{self.name}o", (), tables)
        return cells

    def used(self) -> set[int]:
        """Statistics that some output shows (not only as the unfiltered form of another)."""
        return {i for o in self.boundary.outputs if not o.findings for i in o.statistics}

    def _flags(self, judged: Judged, own: Flags) -> dict[str, Any]:
        flags: dict[str, Any] = {f"{OWN}own": own.tolist()}
        for i, shown in enumerate(judged.shown):
            flags[f"{OWN}ok{i}"] = shown.tolist()
            if i in judged.swapped:
                values = judged.swapped[i]
                known = shown & ~np.isnan(values)
                flags[f"{OWN}sw{i}"] = [float(v) if ok else None for v, ok in zip(values, known, strict=True)]
            if i in judged.stored:
                flags[f"{OWN}st{i}"] = [None if np.isnan(v) else float(v) for v in judged.stored[i]]
            if i in judged.without:
                flags[f"{OWN}wo{i}"] = judged.without[i].tolist()
        return flags

    def _as_stored(self, cut: Cut, near: Near, tables: dict[str, Any]) -> AnyNode:
        """Return the keys of cells beside the numbers of the stored populations they are answered as."""
        flags = self._flags(near.judged, np.ones(near.judged.height, bool))
        tables[f"{near.cut.name}.flags"] = flags
        beside = n.Concat((n.Scan(near.cut.name), n.Scan(f"{near.cut.name}.flags")), "horizontal")
        stats = self._stats(beside, (), flags, near.judged, (Alias(Cast(Column(INDEX), INT64), f"{OWN}q"),))
        columns = (*(Column(f"{OWN}s{i}") for i in range(len(self.boundary.statistics))), Column(ROWS))
        if not cut.keys:
            return n.Select(stats, columns)
        tables[f"{near.cut.name}.cells"] = {"only": near.cells, f"{OWN}q": near.numbers}
        on = (Cast(Column(INDEX), INT64),)
        chosen = n.Join(n.Scan(cut.name), n.Scan(f"{near.cut.name}.cells"), left_on=on, right_on=(Column("only"),))
        keys = tuple(Column(c) for c in self.boundary.key_columns)
        kept = n.Select(chosen, (*keys, Column(f"{OWN}q")))
        joined = n.Join(kept, stats, left_on=(Column(f"{OWN}q"),), right_on=(Column(f"{OWN}q"),))
        return n.Select(joined, (*keys, *columns))

    def _stats(
        self,
        table: AnyNode,
        keys: tuple[AnyExpr, ...],
        flags: Mapping[str, Any],
        judged: Judged,
        more: tuple[AnyExpr, ...] = (),
    ) -> AnyNode:
        """Return keys and statistics of a kept table, with what may not leave as null."""
        exprs: list[AnyExpr] = [*(Column(c) for c in self.boundary.key_columns if keys), *more]
        shown: list[AnyExpr] = []
        for i, s in enumerate(self.boundary.statistics):
            value: AnyExpr = Column(f"{OWN}s{i}")
            if i in judged.swapped:
                value = _from_middle(Column(f"{OWN}sw{i}"), s.dtype)
            value = as_shown(i, s, value, self.kept, self.effective, self.world)
            if flags and i in judged.stored:
                stored = _from_middle(Column(f"{OWN}st{i}"), s.dtype)
                value = Ternary(call("is_not_null", Column(f"{OWN}st{i}")), stored, value)
            if flags:
                value = Ternary(Column(f"{OWN}ok{i}"), value, Literal(NULL))
            shown.append(value)
        for i, s in enumerate(self.boundary.statistics):
            value = shown[i]
            if flags and s.without is not None and i in judged.without:
                value = Ternary(Column(f"{OWN}wo{i}"), shown[s.without], value)
            exprs.append(Alias(_steadily(value, s.dtype), f"{OWN}s{i}"))
        return n.Select(table, (*exprs, Column(ROWS)))

    def _single_row(self, single: tuple[Cut, Judged], tables: dict[str, Any]) -> AnyNode:
        cut, judged = single
        flags = self._flags(judged, np.ones(1, bool))
        tables[f"{cut.name}.flags"] = flags
        beside = n.Concat((n.Scan(cut.name), n.Scan(f"{cut.name}.flags")), "horizontal")
        # too few people altogether: no row
        enough = n.Filter(beside, call("ge", Column(ROWS), Literal(UINT32, min(self.effective.k, 2**32 - 1))))
        return self._stats(enough, (), flags, judged)

    def _one_row(self, single: tuple[Cut, Judged], tables: dict[str, Any]) -> AnyNode:
        """Return the remainder row: `(other)` in text keys, null in others."""
        row = self._single_row(single, tables)
        keys: list[AnyExpr] = []
        for (_, _, _, dtype), column in zip(self.boundary.keys, self.boundary.key_columns, strict=True):
            value: AnyExpr = Literal(STRING, REMAINDER) if dtype == STRING else Cast(Literal(NULL), dtype)
            keys.append(Alias(value, column))
        stats = tuple(Column(f"{OWN}s{i}") for i in range(len(self.boundary.statistics)))
        return n.Select(row, (*keys, *stats, Column(ROWS)))

    def _spread(
        self, cut: Cut, name: str, cells: Indexes, single: tuple[Cut, Judged], tables: dict[str, Any]
    ) -> AnyNode:
        """Return the keys of some cells beside the numbers of another population."""
        row = self._single_row(single, tables)
        if not cut.keys:
            return row
        tables[name] = {"only": [int(i) for i in cells]}
        chosen = n.Join(
            n.Scan(cut.name), n.Scan(name), how="semi", left_on=(Cast(Column(INDEX), INT64),),
            right_on=(Column("only"),),
        )  # fmt: skip
        keys = n.Select(chosen, tuple(Column(c) for c in self.boundary.key_columns))
        return n.Join(keys, row, how="cross")

    @staticmethod
    def _marked(part: AnyNode, *, rest: bool) -> AnyNode:
        return n.WithColumns(part, (Alias(Literal(BOOLEAN, rest), REST),))

    def output(self, cut: Cut, parts: list[AnyNode], *, joined: bool) -> AnyNode:
        """Return the plan of the boundary's result: its parts one below the other. joined: the keys are in another table."""
        boundary = self.boundary
        if not parts:
            none = n.Slice(self._stats(n.Scan(cut.name), cut.keys, {}, Judged(0, np.zeros(0))), 0, 0)
            parts = [self._marked(none, rest=False) if boundary.marked else none]
        plan = parts[0] if len(parts) == 1 else n.Concat(tuple(parts), "vertical_relaxed")
        keys = tuple(Alias(Column(c), name) for (name, *_), c in zip(boundary.keys, boundary.key_columns, strict=True))
        if cut.keys and (len(parts) > 1 or joined):
            plan = n.Sort(plan, tuple(Column(c) for c in boundary.key_columns))
        mark = (Column(REST),) if boundary.marked else ()
        return n.Select(plan, (*keys, *(self._column(o) for o in boundary.outputs), *mark))

    def _column(self, output: Output) -> AnyExpr:
        value = output.expr
        if output.findings:
            value = Literal(NULL)
        elif not output.statistics:
            # INVARIANT: a released column derives from data; constants alone keep their rows' number, nothing else
            value = output.expr
        return Alias(Cast(value, output.dtype, strict=False), output.name)

    def _account(self, cells: Cells, answered: Answered) -> None:
        judged, own, near = answered.judged, answered.own, answered.near
        everybody, others = answered.everybody, answered.others
        outputs = [o for o in self.boundary.outputs if not o.findings]
        tables = [(judged, own)]
        if everybody is not None and answered.whole.any():
            tables.append((everybody[1], np.ones(1, bool)))
        if others is not None:
            tables.append((others[1], np.ones(1, bool)))
        if near is not None:
            tables.append((near.judged, np.ones(near.judged.height, bool)))
        names = {i: {o.name for o in outputs if i in o.statistics} for i in range(len(self.boundary.statistics))}
        for part, stands in tables:
            for o in outputs:
                bad = np.zeros(part.height, bool)
                for i in o.statistics:
                    bad |= ~part.shown[i] & ~part.without.get(i, np.zeros(part.height, bool))
                cells.hidden += int((bad & stands).sum())
                cells.total += int(stands.sum())
            for i, rule in part.failed:
                # a statistic that only stands in for another is that other's failure where it is shown
                users = names[i] or self._users(i, part, names)
                if users:
                    cells.failed.setdefault(rule, set()).update(users)
        sizes = judged.rows[own]
        cells.smallest = int(sizes.min()) if sizes.size else 0

    def _users(self, i: int, part: Judged, names: Mapping[int, set[str]]) -> set[str]:
        found: set[str] = set()
        for j, s in enumerate(self.boundary.statistics):
            if s.without == i and (part.without.get(j, np.zeros(1, bool)) & ~part.shown[i]).any():
                found |= names[j]
        return found


def _steadily(value: AnyExpr, dtype: DType) -> AnyExpr:
    """Return a statistic without its last digits, which are those of the order in which rows and threads add up.

    INVARIANT: the same people and nearly the same read alike, to the last digit, and so do the same rows in another order.
    """
    if not dtype.is_float:
        return value
    # where nothing is shown, the value is null of no type
    typed = Cast(value, dtype, strict=False)
    return plainly(call("round_sig_figs", typed, digits=DIGITS if dtype == FLOAT64 else DIGITS_32), dtype)


def _from_middle(value: Expr, dtype: DType) -> AnyExpr:
    if dtype.kind in ("Date", "Datetime"):
        return Cast(Cast(Cast(value, INT32, strict=False), DATE), dtype)  # type: ignore[arg-type]
    return Cast(value, dtype, strict=False)  # type: ignore[arg-type]
