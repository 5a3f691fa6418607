"""What is measured of one boundary: its cells, the whole table, cells put together, populations by their rows, and numbers of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bastion_plan import nodes as n
from bastion_plan.dtypes import INT64
from bastion_plan.expressions import Alias, AnyExpr, Cast, Column, Expr
from bastion_plan.nodes import AnyNode, Node

from bastion_policy.boundary import Boundary, Guard, Statistic, Term, call
from bastion_policy.chosen_counts import as_conditions
from bastion_policy.facts import DatasetFacts, PrivateFacts
from bastion_policy.guard_cells import ROWS, Cut, Indexes, Measurer, Plan, Steps, X, floats, ints
from bastion_policy.guard_plans import Rewriter, as_float, lenient, nesting
from bastion_policy.history import History
from bastion_policy.judge_edges import conditions_on_measures, keys_of_measures, narrowing
from bastion_policy.judge_history import Memory, digest
from bastion_policy.judge_leaving import Leaving
from bastion_policy.judge_made import makes_rows, of_everybody
from bastion_policy.judge_missing import filled, left_out
from bastion_policy.judge_repeats import Repeats
from bastion_policy.judge_rules import Judged
from bastion_policy.judge_values import ValueRules
from bastion_policy.judge_whole import Wholes
from bastion_policy.lineage import OWN, Occurrence, Source, Typed, World
from bastion_policy.model import Effective
from bastion_policy.verdict import Measure


@dataclass
class Cuts:
    """One boundary of a typed plan, and what may be measured of it."""

    typed: Typed
    facts: Mapping[str, DatasetFacts]
    private: Mapping[str, PrivateFacts]
    effective: Effective
    world: World
    history: History
    done: Mapping[int, Node]
    name: str

    def __post_init__(self) -> None:
        assert isinstance(self.typed.boundary, Boundary)
        self.boundary = self.typed.boundary
        self.below = self.typed.inputs[0]
        self.frame = self.below.frame
        self.k = self.effective.k
        self.whole = Wholes(self.below, self.done, self.facts, self.private, self.k)
        self.kept: frozenset[str] = frozenset()
        self.memory = Memory(self.history, self.frame.occurrences, self.effective)
        #: which rows of the frame repeat; None: it is not looked at
        self.repeats: Repeats | None = None
        #: what chooses people by a measure: steps below, group keys
        #: the measures by which people are chosen, whose values someone may search for by thresholds
        self.chosen_by: set[str] = set()
        self.narrowing = narrowing(self.below, self.world, self.chosen_by)
        self.measured_keys = keys_of_measures(self.boundary, self.world, self.chosen_by)
        conditions = [
            conditions_on_measures(s, self.frame, self.world, self.chosen_by) for s in self.boundary.statistics
        ]
        if self.effective.profile != "strict":
            chosen = {i for i, found in enumerate(conditions) if found or self.narrowing or self.measured_keys}
            self.boundary = as_conditions(self.boundary, self.frame, self.world, chosen)
        self.memory.searched = bool(self.chosen_by)
        #: whether a person's row may be in the frame as several, and each cell holds some of everybody's
        self.makes_rows = makes_rows(self.below)
        self.of_everybody = self.makes_rows and of_everybody(self.below, self.boundary, self.world)
        self.dropped = left_out(self.below)
        self.filled = filled(self.below, self.boundary, self.world, self.private, self.effective)
        used = [(d, self.facts[d].version, self.facts[d].policy_version) for d in sorted(n.scans(self.typed.node))]
        #: of the tables in the question
        self.versions = hashlib.sha256(repr(used).encode()).digest()[:12]
        #: of what decides who is in which cell
        self.plan_digest = digest(n.Select(self.below.node, tuple(e for _, e, _, _ in self.boundary.keys)))

    @property
    def _leaving(self) -> Leaving:
        return Leaving(self.boundary, self.effective, self.world, self.name, self.kept)

    def _conditions(self, statistic: Statistic) -> tuple[Expr, ...]:
        """Return what chooses people inside a statistic, where a measure has to do with who they are.

        INVARIANT: where a measure chose whose rows there are, any condition among them has thresholds in that measure.
        """
        if self.narrowing or self.measured_keys:
            held = (t.expr for t in statistic.terms) if statistic.guard is Guard.HELD else ()
            return (*statistic.population, *held)
        return conditions_on_measures(statistic, self.frame, self.world, self.chosen_by)

    def _cut(self, name: str, *, whole: bool = False, keys: bool = True) -> Cut:
        def plan(carry: bool, rows: bool = False) -> AnyNode:
            return Rewriter(self.facts, self.done, carry, whole, rows).build(self.below)

        exprs = tuple(lenient(e) for _, e, _, _ in self.boundary.keys) if keys else ()
        cut = self._of(name, plan, exprs)
        cut.dtypes = tuple(dtype for _, _, _, dtype in self.boundary.keys) if keys else ()
        return cut

    def _of(self, name: str, plan: Plan, keys: tuple[AnyExpr, ...] = ()) -> Cut:
        row_units = all(self.facts[o.dataset].unit is None for o in self.frame.occurrences)
        nested = nesting(self.below)
        return Cut(name, plan, self.boundary, keys, self.frame.occurrences, self._rows_per_unit(), row_units, nested)

    def _rows_per_unit(self) -> int | None:
        if self.frame.fanned or len(self.frame.occurrences) != 1:
            return None
        if self.frame.per_unit:
            return 1
        return max(1, self.private[self.frame.occurrences[0].dataset].max_rows_per_unit)

    def _rules(self, cut: Cut, memory: Memory | None) -> ValueRules:
        rules = ValueRules(
            cut,
            self.effective,
            self.world,
            dict(self.private),
            memory,
            self.plan_digest + cut.name.removeprefix(self.name).encode(),
            None if self.makes_rows else self._as_listed(memory),
            everybody=(self.of_everybody and cut.name == self.name)
            or (not cut.keys and (cut.name == f"{self.name}w" or (cut.name == self.name and not self.frame.narrowed))),
            repeats=self.repeats if memory is not None else None,
            filled=self.filled,
            dropped=self.dropped if cut.name == self.name and not cut.keys else None,
        )
        cut.extra, cut.lists = rules.guard_columns(), rules.lists()
        self.kept = frozenset(cut.extra)
        return rules

    def _as_listed(self, memory: Memory | None) -> Callable[[str, Sequence[Indexes], bool], Steps]:
        def listed(name: str, populations: Sequence[Indexes], enters: bool) -> Steps:
            return self._listed(name, populations, memory if enters else None, instead=True)

        return listed

    def _listed(
        self, name: str, populations: Sequence[Indexes], memory: Memory | None, *, instead: bool = False
    ) -> Steps:
        """Judge populations that are given by their rows in the only table; returns (cut, Judged).

        instead: they stand for those of one statistic.
        """
        (occurrence,) = self.frame.occurrences
        numbers = np.repeat(np.arange(len(populations)), [rows.size for rows in populations])
        tables: dict[str, Mapping[str, Any]] = {
            f"{name}.rows": {f"{OWN}row": np.concatenate(populations), f"{OWN}q": numbers}
        }

        def plan(carry: bool, rows: bool = False) -> AnyNode:
            whole = Rewriter(self.facts, self.done, carry, True, True).build(self.below)
            on = (Cast(Column(occurrence.row), INT64),)
            return n.Join(whole, n.Scan(f"{name}.rows"), left_on=on, right_on=(Column(f"{OWN}row"),))

        cut = self._of(name, plan, (Column(f"{OWN}q"),))
        kept = self.kept
        rules = self._rules(cut, memory)
        rules.instead, rules.following = instead, memory is None
        rules.repeats = self.repeats if instead or memory is not None else None
        self.kept = kept | self.kept if memory is not None else kept
        table = yield Measure(cut.table(), name, rules.returned(), tables)
        m = Measurer(cut, int(table["__height"]), tables)
        judged = yield from rules.judge(m, table, np.ones(m.size, bool))
        if m.size != len(populations):
            # INVARIANT: populations are told apart by their place. Where the rows of one are not there (lists without elements),
            # nothing is told of any.
            none = np.zeros(len(populations), bool)
            judged = Judged(none.size, none.astype(np.float64), [none.copy() for _ in judged.shown])
        return cut, judged

    def _union(self, cut: Cut, name: str, members: Indexes) -> Cut:
        """Return some cells as one."""
        return self._of(name, cut.members(members))

    def _only(self, cut: Cut, members: Indexes) -> dict[str, Any]:
        return {f"{cut.name}.only": {"only": np.asarray(members, np.int64)}}

    def _single(self, cut: Cut, tables: dict[str, Any], memory: Memory | None = None) -> Steps:
        """Judge a cut of one cell: the whole table or the remainder; returns (cut, Judged). memory: where it is released."""
        rules = self._rules(cut, memory)
        table = yield Measure(cut.table(), cut.name, rules.returned(), tables)
        m = Measurer(cut, 1, tables)
        enough = yield from m.at_least(self.k, floats(table[ROWS]), np.ones(1, bool))
        judged = yield from rules.judge(m, table, enough)
        return cut, judged

    def _values(self, cut: Cut, o: Occurrence, of: Term | Source) -> Steps:
        """Return a number per row of a table, NaN where there is none: of an argument, or of a stored column."""
        return (yield from self._numbers(cut, o, of))[0]

    def _numbers(self, cut: Cut, o: Occurrence, of: Term | Source) -> Steps:
        """Return (a number per row of a table, the rows of which it is known or missing); nobody may write into them."""
        key = (of.dataset, self.facts[of.dataset].version, of.column) if isinstance(of, Source) else None
        held = self.history.columns.get(key) if key is not None and key[0] == o.dataset else None
        if held is not None:
            return held, np.ones(held.size, bool)
        if isinstance(of, Term):
            rows: AnyNode = Rewriter(self.facts, self.done, False, True, True).build(self.below)
            number, expr = Column(o.row), as_float(lenient(of.expr), of.dtype)
            rows = n.Select(rows, (number, Alias(expr, X)))
            for _ in range(cut.nested.get(o.index, 0)):
                rows = n.Explode(rows, (number,))
        else:
            dtype, size = self.facts[of.dataset].column(of.column).dtype, self.private[of.dataset].rows
            if not (dtype.is_numeric or dtype.is_temporal or dtype.kind == "Boolean"):
                return np.full(size, np.nan), np.zeros(
                    size, bool
                )  # only what the elements of a list come to is a number
            expr, number = as_float(Column(of.column), dtype), Column(o.row)
            rows = n.Select(n.WithRowIndex(n.Scan(of.dataset), o.row), (number, Alias(expr, X)))
        present = n.Filter(rows, call("is_not_null", number))
        answer = yield Measure(present, f"{self.name}v", (o.row, X))
        at = ints(answer[o.row])
        found, seen = np.full(self.private[o.dataset].rows, np.nan), np.zeros(self.private[o.dataset].rows, bool)
        seen[at] = True
        if isinstance(of, Term) and (self.makes_rows or len({x.occurrence for x in of.value.sources}) > 1):
            # of columns of several tables, or of several rows that were made of one: all that a row adds
            found[seen] = np.bincount(at, np.nan_to_num(floats(answer[X])), seen.size)[seen]
        else:
            found[at] = floats(answer[X])
        found.flags.writeable = False
        if key is not None and key[0] == o.dataset and seen.all():
            self.history.columns.put(key, found)
        return found, seen
