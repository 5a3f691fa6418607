"""Counts of values, of people whom a measure chose: told as those of a condition.

Which values are missing is public, so that everybody may count them in any group of people who are known. Who has a value of one
column and is chosen by another is not: where a single person of a group has a bonus, the number of bonuses of those with
`pay < c` is whether that person's pay is below c. So there `count`, `null_count` and sums of `is_null` are conditions on who has a
value, with two sides: fewer than k of either are answered as none.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from bastion_plan.dtypes import BOOLEAN
from bastion_plan.expressions import Call, Expr

from bastion_policy.boundary import Boundary, Guard, Statistic, Term, call
from bastion_policy.flow_expressions import ExpressionTyping
from bastion_policy.lineage import Form, Frame, Value, World


def as_conditions(boundary: Boundary, frame: Frame, world: World, chosen: Collection[int]) -> Boundary:
    """Return a boundary in which some statistics count who has a value as those who meet a condition.

    frame: the rows that it counts. chosen: the statistics of people whom a measure chose.
    """
    found = [_as_condition(s, boundary, frame, world) if i in chosen else s for i, s in enumerate(boundary.statistics)]
    return boundary if found == boundary.statistics else replace(boundary, statistics=found)


def _as_condition(s: Statistic, boundary: Boundary, frame: Frame, world: World) -> Statistic:
    counts = s.function in ("count", "null_count") and s.guard is Guard.SUM
    if s.terms or not (counts or s.guard is Guard.NOTHING):
        return s
    bare = s.call if s.without is None else boundary.statistics[s.without].call
    if not isinstance(bare, Call) or len(bare.args) != 1:
        return s
    value = ExpressionTyping(frame, world).value(bare.args[0])
    if not value.sources or not _may_miss(value, frame, world):
        return s
    if s.guard is Guard.NOTHING:
        if value.form is not Form.NULLS or s.function not in ("sum", "mean"):
            return s
        return replace(s, guard=Guard.HELD, terms=(Term(bare.args[0], value, BOOLEAN),))
    if value.form is not Form.COLUMN:
        return s
    bits: Expr = call("is_not_null" if s.function == "count" else "is_null", bare.args[0])
    term = Term(bits, value.derived(Form.NULLS, low=0.0, high=1.0), BOOLEAN)
    made = call("sum", call("filter", bits, *s.population) if s.population else bits)
    return replace(s, call=made, function="sum", guard=Guard.HELD, terms=(term,))


def _may_miss(value: Value, frame: Frame, world: World) -> bool:
    """Whether some rows of a frame may have no value: of stored columns that is known."""
    apart = len(frame.occurrences) == 1 and not frame.grouped and value.pristine
    return not apart or any(not x.counted and (x.dataset, x.column) in world.nullable for x in value.sources)
