"""People of whom a measure chose some rows and not others: fewer than k of them are at a threshold.

**Why.** Who has rows is known. Of people with several rows, the number of those who have one below a bound and of those who have one
above it, together, are as many more than all as have both: their difference is the number of people who cross the bound, fewer
than k of them, too, and that they are in the group says of each that they do.

**How.** Where people are counted (`n_unique` of the unit, or rows that are one per person), those of a cell are looked for who have
rows in the same public group that the measure left out. Of people who all have rows on one side there are none: fewer than k as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from bastion_plan import nodes as n
from bastion_plan.expressions import Alias, Call, Column, Expr

from bastion_policy.boundary import Guard, Statistic, call
from bastion_policy.guard_cells import Measurer, Steps, X, both, floats
from bastion_policy.guard_plans import Rewriter, lenient, nesting
from bastion_policy.judge_edges import Narrowing
from bastion_policy.lineage import Occurrence, Typed

_ALL, _MINE = f"{X}a", f"{X}i"


def counts_people(s: Statistic) -> bool:
    """Whether a statistic is the number of people in a cell, who may have several rows there."""
    return s.function == "n_unique" and s.guard is Guard.NOTHING


def inside_people(below: Typed, steps: Narrowing) -> Narrowing:
    """Return the steps that leave out some of a person's rows before these become one."""
    depth = max(nesting(below).values(), default=0)
    found: Narrowing = {}
    stack = [below]
    while stack:
        node = stack.pop()
        if id(node) in steps and max(nesting(node).values(), default=0) < depth:
            found[id(node)] = steps[id(node)]
        stack += [t for t in node.inputs if t.frame.private]
    return found


def fewest_crossing(
    m: Measurer,
    every: Rewriter,
    below: Typed,
    keys: Sequence[tuple[str, Expr]],
    o: Occurrence,
    conditions: Sequence[Expr],
) -> Steps:
    """Return how many people of a cell have rows in its public group that are not in it: the fewest of all cells.

    every: builds the rows that no measure left out. keys: the public ones, by their columns in the cut. conditions: inside the
    statistic.
    """
    cut, unit = m.cut, Column(o.unit)
    there = both([call("is_not_null", unit), *map(lenient, conditions)])
    assert there is not None
    mine = n.GroupBy(
        n.Filter(cut.keyed(True), there),  # type: ignore[arg-type]
        (*map(Column, cut.key_columns), unit),
        (Alias(call("sum", Column(o.weight)), _MINE),),
    )
    rows = n.WithColumns(every.build(below), tuple(Alias(lenient(e), c) for c, e in keys))
    on = (*(Column(c) for c, _ in keys), unit)
    all_ = n.GroupBy(n.Filter(rows, call("is_not_null", unit)), on, (Alias(call("sum", Column(o.weight)), _ALL),))
    beside = n.Join(mine, all_, "left", on, on, nulls_equal=True)
    crossing = Alias(call("sum", call("lt", Column(_MINE), Column(_ALL))), X)
    cells = tuple(Column(c) for c in cut.key_columns)
    counted = n.GroupBy(beside, cells, (crossing,)) if cells else n.Select(beside, (crossing,))
    answer = yield from m.ask(n.Select(counted, (Alias(call("min", Column(X)), X), Alias(Call("pl.len"), _ALL))))
    # of no cells there is nothing to tell
    return float(floats(answer[X])[0]) if floats(answer[_ALL])[0] else float("inf")
