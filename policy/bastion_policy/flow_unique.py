"""Which columns identify the rows of a frame that is nobody's: only such a table may be joined to people's rows.

INVARIANT: a key that stands twice repeats a person's rows, and a thousand times is a weight of a thousand, in a population
that is called everybody. So a step keeps what is known only where it can neither repeat a row nor make more of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from bastion_plan import nodes as n
from bastion_plan.dtypes import Schema
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal, Over, Ternary, children
from bastion_plan.functions.registry import find
from bastion_plan.functions.spec import REDUCING, Shape
from bastion_plan.nodes import AnyNode

from bastion_policy.flow_trees import output_name
from bastion_policy.lineage import Typed

#: types whose constants are equal where they are written alike, besides whole numbers
EXACT_KEYS = frozenset({"Boolean", "Date", "Datetime", "Duration", "Time", "String", "Categorical", "Enum"})


def unique_after(node: AnyNode, below: Sequence[Typed], schema: Schema) -> frozenset[str] | None:
    """Return columns that identify the rows of a step over released or public frames; None where none are known to."""
    before = below[0].frame.unique if below else None
    match node:
        case n.Inline(columns=columns):
            return unique_columns(columns)
        case n.GroupBy(keys=keys):
            return frozenset(output_name(k) for k in keys)
        case n.Unique(subset=None):
            return frozenset(schema)
        case n.Slice() | n.Reverse() | n.DropNulls():
            return before
        case n.Filter(predicate=predicate):
            return before if keeps_height(predicate) else None
        case n.Sort(by=by) | n.TopK(by=by):
            return before if all(map(keeps_height, by)) else None
        case n.Select(exprs=exprs):
            kept = {e.name for e in exprs if isinstance(e, Column)}
            return before if before and before <= kept and all(map(keeps_height, exprs)) else None
        case _:
            return None


def keeps_height(expr: Expr) -> bool:
    """Whether an expression gives one value per row of the frame, or one for all of them.

    INVARIANT: Polars stretches a frame of one row to the length of a longer expression (`int_range`, an exploded list), in
    filters and sorts too, so that the values of its other columns stand as often as one likes.
    """
    match expr:
        case Column() | Literal():
            return True
        case Call(function=name, args=args):
            function = find(name)
            if function is None or function.shape is Shape.ANY:
                return False
            if function.shape is Shape.ONE and function.flow in REDUCING:
                return True
            # one that takes a value by its place gives several where it is given several places
            return (bool(args) or function.shape is Shape.ONE) and all(map(keeps_height, args))
        case Over(mapping="group_to_rows") | Alias() | Cast() | Ternary():
            return all(map(keeps_height, children(expr)))
        case _:
            return False


def unique_columns(columns: Sequence[n.InlineColumn]) -> frozenset[str] | None:
    """Return columns whose values are a row's own, as the engine compares them; None if there are none.

    INVARIANT: only types whose constants are written in one way: not-a-numbers are equal to each other, fractions are
    rounded to their type, and 1.0 and 1.00 are one decimal.
    """
    exact = [c for c in columns if c.dtype.is_integer or c.dtype.kind in EXACT_KEYS]
    for column in exact:
        if len(set(column.values)) == len(column.values):
            return frozenset({column.name})
    rows = list(zip(*(c.values for c in exact), strict=True))
    return frozenset(c.name for c in exact) if exact and len(set(rows)) == len(rows) else None
