"""Which cells are all of the people but a few: they are answered as the whole table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from bastion_plan import nodes as n
from bastion_plan.expressions import Alias, Call, Column
from bastion_plan.nodes import Node

from bastion_policy.boundary import call
from bastion_policy.facts import DatasetFacts, PrivateFacts
from bastion_policy.guard_cells import INDEX, Flags, Floats, Indexes, Measurer, Steps, X, floats
from bastion_policy.guard_plans import Rewriter
from bastion_policy.lineage import Occurrence, Typed


@dataclass(frozen=True)
class Wholes:
    """Compares cells with the whole tables below them. below: the private frame; done: what stands for boundaries in it."""

    below: Typed
    done: Mapping[int, Node]
    facts: Mapping[str, DatasetFacts]
    private: Mapping[str, PrivateFacts]
    k: int

    def populations(self, m: Measurer, rows: Floats) -> Steps:
        """Return (own, whole, mixed): cells that stand for themselves, those answered as the whole table, those gone.

        INVARIANT: with several tables (or one several times) in a plan, a cell stands for itself only if it is far from the
        whole of each; near the whole of some alone it is neither, and nothing is shown.
        """
        none = np.zeros(m.size, bool)
        own = yield from m.at_least(self.k, rows, np.ones(m.size, bool))
        if not m.cut.keys and not self.below.frame.narrowed:
            return own, none, none
        near, some = yield from self.near_whole(m, rows, own)
        return own & ~near & ~some, near, some

    def near_whole(self, m: Measurer, rows: Floats, own: Flags) -> Steps:
        """Return the cells that leave out fewer than k units (units with any row that is not in the cell).

        First those near the whole in every occurrence, then those near it in some but not all.

        INVARIANT (tier bound): more than (k - 1) * M rows outside belong to at least k units.
        """
        total = yield from self._whole_rows(m)
        outside, most = total - rows, m.cut.rows_per_unit
        far = outside >= self.k if most == 1 else np.zeros(m.size, bool)
        if most is not None and most > 1:
            far = outside > (self.k - 1) * most
        open_cells = own & ~far
        # whole rows of a pre-aggregated frame may hide that some of a unit's rows were left out
        if not open_cells.any() or (most == 1 and not self.below.frame.grouped):
            return own & ~far, np.zeros(m.size, bool)
        near, some = open_cells.copy(), np.zeros(m.size, bool)
        lost = False
        for occurrence in m.cut.occurrences:
            inside, everybody = yield from self._inside(m, occurrence, np.flatnonzero(open_cells))
            near &= everybody - inside < self.k
            some |= everybody - inside < self.k
            # INVARIANT: a join that leaves a few people out is near the whole table, and is not the whole table
            lost |= 0 < self._people(occurrence) - everybody < self.k
        for dataset in {o.dataset for o in m.cut.occurrences}:
            together = [o for o in m.cut.occurrences if o.dataset == dataset]
            if len(together) > 1:
                # INVARIANT: parts of one table that are put together may leave out a few people only together
                inside = yield from self._inside_together(m, together, np.flatnonzero(open_cells))
                some |= self._people(together[0]) - inside < self.k
        near &= not lost
        return near, open_cells & some & ~near

    def _people(self, occurrence: Occurrence) -> int:
        """Return the number of units of the table an occurrence scans."""
        private, unit = self.private[occurrence.dataset], self.facts[occurrence.dataset].unit
        column = private.columns.get(unit) if unit is not None else None
        return private.units - (1 if column is not None and column.nulls else 0)

    def _inside(self, m: Measurer, occurrence: Any, only: Indexes) -> Steps:
        """Return (units all of whose rows are in the cell, units of the whole table)."""
        whole = Rewriter(self.facts, self.done, True, True).build(self.below)
        unit, weight = Column(occurrence.unit), Column(occurrence.weight)
        present = call("is_not_null", unit)
        everything = n.GroupBy(n.Filter(whole, present), (unit,), (Alias(call("sum", weight), f"{X}b"),))
        located, tables = m.cut.located(True, only)
        in_cell = n.GroupBy(n.Filter(located, present), (Column(INDEX), unit), (Alias(call("sum", weight), f"{X}a"),))
        joined = n.Join(in_cell, everything, left_on=(unit,), right_on=(unit,))
        full = n.Filter(joined, call("ge", Column(f"{X}a"), Column(f"{X}b")))
        counted = n.GroupBy(full, (Column(INDEX),), (Alias(Call("pl.len"), X),))
        answer = yield from m.ask(counted, tables)
        units = yield from m.ask(n.Select(everything, (Alias(Call("pl.len"), X),)))
        return m.spread(answer, X), float(floats(units[X])[0])

    def _inside_together(self, m: Measurer, occurrences: list[Occurrence], only: Indexes) -> Steps:
        """Return the units all of whose rows are in the cell, those of all occurrences of their table counted."""
        first, weight = occurrences[0], f"{X}a"
        whole = Rewriter(self.facts, self.done, True, True).build(self.below)
        present = n.Filter(whole, call("is_not_null", Column(first.unit)))
        everything = n.GroupBy(present, (Column(first.unit),), (Alias(call("sum", Column(first.weight)), f"{X}b"),))
        located, tables = m.cut.located(True, only)
        parts = []
        for o in occurrences:
            columns = (Column(INDEX), Alias(Column(o.unit), f"{X}u"), Alias(Column(o.weight), weight))
            parts.append(n.Select(n.Filter(located, call("is_not_null", Column(o.unit))), columns))
        stacked = n.Concat(tuple(parts), "vertical_relaxed")
        keys = (Column(INDEX), Column(f"{X}u"))
        in_cell = n.GroupBy(stacked, keys, (Alias(call("sum", Column(weight)), weight),))
        joined = n.Join(in_cell, everything, left_on=(Column(f"{X}u"),), right_on=(Column(first.unit),))
        full = n.Filter(joined, call("ge", Column(weight), Column(f"{X}b")))
        counted = n.GroupBy(full, (Column(INDEX),), (Alias(Call("pl.len"), X),))
        answer = yield from m.ask(counted, tables)
        return m.spread(answer, X)

    def _whole_rows(self, m: Measurer) -> Steps:
        """Return the number of rows of the frame without predicates."""
        known = _known_rows(self.below, self.private)
        if known is not None:
            return float(known)
        whole = Rewriter(self.facts, self.done, False, True).build(self.below)
        answer = yield from m.ask(n.Select(whole, (Alias(Call("pl.len"), X),)))
        return float(floats(answer[X])[0])


def _known_rows(typed: Typed, private: Mapping[str, PrivateFacts]) -> int | None:
    """Return the rows of a frame without predicates, where the registered facts tell."""
    node = typed.node
    match node:
        case n.Scan(dataset=dataset):
            return private[dataset].rows
        case n.Filter() | n.Select() | n.WithColumns() | n.Sort() | n.Reverse() | n.DropNulls() | n.FillNull():
            return _known_rows(typed.inputs[0], private)
        case n.Join(how="inner" | "left" | "semi" | "anti") if not typed.inputs[1].frame.private:
            return _known_rows(typed.inputs[0], private) if typed.inputs[0].frame.private else None
        case _:
            return None
