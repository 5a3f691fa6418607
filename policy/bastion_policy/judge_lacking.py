"""People without a value among those whom a measure chose: fewer than k of them are at a threshold.

**Why.** Which values are missing is public. The sum of a column and its mean, or the mean of whole numbers alone, say how many
values there are, and the number of people less that, how many have none: where one person of a group lacks a value, whether a
measure chose that person. Counts of values are told as those of conditions (`chosen_counts`); sums and means are not, and count.

**How.** Per cell those without a value are counted, and those whom the measure left out as well: of a group in which nobody lacks
a value, as after `drop_nulls`, nothing follows.
"""

from __future__ import annotations

from collections.abc import Sequence

from bastion_plan import nodes as n
from bastion_plan.expressions import Alias, Column, Expr
from bastion_plan.nodes import AnyNode

from bastion_policy.boundary import Guard, Statistic, Term, call
from bastion_policy.guard_cells import Measurer, Steps, X, both, floats, where
from bastion_policy.guard_plans import Rewriter, lenient
from bastion_policy.lineage import Occurrence, Typed, World

_EVERY, _MINE = f"{X}a", f"{X}i"


def may_lack(s: Statistic, world: World) -> list[Term]:
    """Return the arguments of a statistic that tells how many values there are, some of which may be missing."""
    if s.guard not in (Guard.SUM, Guard.SQUARES):
        return []
    return [
        t
        for t in s.terms
        if t.value.makes_nulls or any((x.dataset, x.column) in world.nullable for x in t.value.sources if not x.counted)
    ]


def few_lack(
    m: Measurer,
    every: Rewriter,
    below: Typed,
    keys: Sequence[tuple[str, Expr]],
    o: Occurrence,
    term: Term,
    conditions: Sequence[Expr],
    k: int,
) -> Steps:
    """Whether fewer than k people of some cell lack a value, where somebody of its public group does.

    every: builds the rows that no measure left out. keys: the public ones, by their columns in the cut. conditions: inside the
    statistic.
    """
    cut, missing = m.cut, call("is_null", lenient(term.expr))
    lacks = both([missing, *map(lenient, conditions)])
    assert lacks is not None
    mine = Alias(call("n_unique", call("drop_nulls", where(lacks, Column(o.unit)))), _MINE)
    possible = Alias(call("sum", missing), _EVERY)
    rows = every.build(below)
    there: AnyNode
    if cut.key_columns:
        on = tuple(Column(c) for c, _ in keys)
        there = n.GroupBy(cut.keyed(True), tuple(map(Column, cut.key_columns)), (mine,))
        public = tuple(Alias(lenient(e), c) for c, e in keys)
        group: AnyNode = n.GroupBy(rows, public, (possible,)) if on else n.Select(rows, (possible,))
        beside: AnyNode = (
            n.Join(there, group, "left", on, on, nulls_equal=True) if on else n.Join(there, group, how="cross")
        )
    else:
        beside = n.Concat((n.Select(cut.plan(True), (mine,)), n.Select(rows, (possible,))), "horizontal")
    answer = yield from m.ask(n.Select(beside, (Column(_MINE), Column(_EVERY))))
    # INVARIANT: a cell that has no public group of its own is not known to lack nothing
    return bool(((floats(answer[_MINE]) < k) & ~(floats(answer[_EVERY]) == 0)).any())
