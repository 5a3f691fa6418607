"""Means of each person's rows that are added up: told where everybody in a cell has equally many rows with a value.

A mean of n rows weighs each of them by 1 / n, and history and audit hold which rows are in a number, each once. Where everybody has
equally many, the means come to the sum of the rows, n times smaller, and are compared, audited and watched as that. Where somebody
has one more or one less, that sum and the plain one of the very same rows differ by what this person has. So it is withheld.
Sums and counts of a person's rows weigh them alike, however many there are, and medians of numbers per person add up nothing.

**Whose columns.** Those of secret columns that vary from row to row. Of the others a person's rows are copies of one number,
and the audit has one unknown per person, which enters once and as often as there are rows (`judge_people`). What an explode
made of a list is no copy of anything, whether the column varies or not: its elements are counted as rows are.

INVARIANT: what is told with other weights than the history holds is no number of a population that anybody compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from bastion_plan import nodes as n
from bastion_plan.expressions import Column, Expr
from bastion_plan.nodes import AnyNode

from bastion_policy.boundary import Guard, Statistic, call
from bastion_policy.facts import PrivateFacts
from bastion_policy.guard_cells import INDEX, Flags, Indexes, Measurer, Steps, X, both, ints
from bastion_policy.guard_plans import lenient
from bastion_policy.history.past import Hashes
from bastion_policy.judge_repeats import Repeats, equal, nearly_equal, unlisted
from bastion_policy.lineage import Occurrence, Source, World

#: statistics that add up what is asked for
ADDED = frozenset({Guard.SUM, Guard.SQUARES, Guard.PRODUCTS})


@dataclass(eq=False)
class Averages:
    """Looks at how many rows with a value each person has in the cells of a cut.

    repeats: of the cut's frame. nested: how often the rows of an occurrence were put into lists.
    """

    repeats: Repeats
    world: World
    private: Mapping[str, PrivateFacts]
    nested: Mapping[int, int]
    _known: dict[tuple[int, tuple[Source, ...], Expr | None], tuple[Flags, Flags]] = field(default_factory=dict)

    def weighed(self, s: Statistic) -> frozenset[Source]:
        """Return the columns whose rows a statistic may add up with unequal weights."""
        if s.guard not in ADDED:
            return frozenset()
        terms = [t.value for t in s.terms if not t.value.evenly]
        found = {x for v in terms for x in v.sources if not x.counted and self.nested.get(x.occurrence, 0)}
        return frozenset(found if any(self._varies(x) for x in found) else ())

    def _varies(self, source: Source) -> bool:
        role, several = self.world.role(source), self.repeats.lenses[source.dataset].roster.several
        return role.secret and ((role.varies and several) or self._listed(source))

    def _listed(self, source: Source) -> bool:
        """Whether the rows of a column are the elements of its lists."""
        dtype = self.world.facts[source.dataset].column(source.column).dtype
        return dtype.kind in ("List", "Array") and source in self.repeats.elements

    def judge(self, m: Measurer, s: Statistic) -> Steps:
        """Return (cells in which everybody has equally many rows with a value, cells at the threshold of that)."""
        even, close = np.ones(m.size, bool), np.zeros(m.size, bool)
        weighed, condition = self.weighed(s), both(s.population)
        for index in sorted({x.occurrence for x in weighed}):
            columns = tuple(sorted((x for x in weighed if x.occurrence == index), key=lambda x: x.column))
            key = (index, columns, condition)
            if key not in self._known:
                self._known[key] = yield from self._evenness(m, self.repeats.occurrences[index], columns, condition)
            even, close = even & self._known[key][0], close | self._known[key][1]
        return even, close

    def _evenness(self, m: Measurer, o: Occurrence, columns: tuple[Source, ...], condition: Expr | None) -> Steps:
        plan, tables = m.cut.located(False, rows=True)
        if condition is not None:
            plan = n.Filter(plan, lenient(condition))
        rows, _ = unlisted(n.Select(plan, (Column(INDEX), Column(o.row))), o, self.nested)
        answer = yield from m.ask(rows, tables, returns=(INDEX, o.row))
        cell, row = ints(answer[INDEX]), ints(answer[o.row])
        valued, torn = np.ones(self.private[o.dataset].rows, bool), np.zeros(self.private[o.dataset].rows, bool)
        for x in columns:
            if self.private[o.dataset].columns[x.column].nulls:
                valued[(yield from self._missing(m, x, elements=False))] = False
            if self._listed(x):
                torn[(yield from self._missing(m, x, elements=True))] = True
        cell, row = cell[valued[row]], row[valued[row]]
        lens = self.repeats.lenses[o.dataset]
        # INVARIANT: an element that is null is in the list, and not in what its mean is divided by
        whole = np.bincount(cell[torn[row]], minlength=m.size) == 0
        cells, times, unit = _counted(cell, lens.roster.unit[lens.items[row]])
        return equal(m.size, cells, times) & whole, nearly_equal(m.size, cells, times, unit, self.repeats.k)

    def _missing(self, m: Measurer, source: Source, *, elements: bool) -> Steps:
        """Return the rows in which a column, or an element of its list, is null."""
        column = Column(source.column)
        rows: AnyNode = n.Select(n.WithRowIndex(n.Scan(source.dataset), X), (Column(X), column))
        rows = n.Filter(n.Explode(rows, (column,)) if elements else rows, call("is_null", column))
        answer = yield from m.ask(n.Select(rows, (Column(X),)), returns=(X,))
        return ints(answer[X])


def _counted(cell: Indexes, unit: Hashes) -> tuple[Indexes, Indexes, Hashes]:
    """Return (cell, how many rows, whose) of every person in every cell."""
    who, at = np.unique(unit, return_inverse=True)
    code, times = np.unique(cell * max(who.size, 1) + at, return_counts=True)
    return code // max(who.size, 1), times, who[code % max(who.size, 1)]
