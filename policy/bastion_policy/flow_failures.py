"""Which plans may fail at some values, as far as their functions tell: those that compute with private columns at all."""

from __future__ import annotations

from bastion_plan import nodes as n
from bastion_plan.expressions import Alias, Call, Column, Expr, Literal, children
from bastion_plan.nodes import Node

#: steps that do not fail at some values
_STEPS = (
    n.Scan, n.Inline, n.Filter, n.DropNulls, n.Select, n.WithColumns, n.GroupBy, n.Join, n.Sort, n.Reverse, n.Slice, n.TopK,
)  # fmt: skip
#: functions that no value makes fail, on any type that they bind to
_SAFE = frozenset(
    """
    eq ne lt le gt ge eq_missing ne_missing and_ or_ xor not_ is_in is_between is_null is_not_null is_nan is_not_nan
    filter drop_nulls drop_nans pl.len len count null_count n_unique sum mean var std median quantile min max
    pl.cov pl.corr
    """.split()
)


def may_fail(plan: Node) -> bool:
    """Whether a plan computes anything but comparisons and statistics below its cells, or above them."""
    stack = [plan]
    while stack:
        node = stack.pop()
        stack.extend(n.inputs(node))
        if not isinstance(node, _STEPS):
            return True
        for name in node.__struct_fields__:
            value = getattr(node, name)
            parts = value if isinstance(value, tuple) else (value,)
            if any(isinstance(e, Expr) and _computes(e) for e in parts):
                return True
    return False


def _computes(expr: Expr) -> bool:
    safe = expr.function in _SAFE if isinstance(expr, Call) else isinstance(expr, Column | Literal | Alias)
    return not safe or any(map(_computes, children(expr)))
