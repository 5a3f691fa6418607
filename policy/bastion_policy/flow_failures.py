"""Which plans may fail at some values, as far as their functions tell: those that compute with private columns at all."""

from __future__ import annotations

import math

from bastion_plan import nodes as n
from bastion_plan.dtypes import DType
from bastion_plan.expressions import Alias, Call, Column, Expr, Literal, children
from bastion_plan.nodes import Node

from bastion_policy.lineage import Value, World

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

#: digits that a decimal has at most, and those that a number of rows has at most
DIGITS, OF_ROWS = 38, 12


def adds_up(dtype: DType, value: Value, world: World) -> bool:
    """Whether sums of decimals of a type stay within what decimals can hold, however many rows are added up.

    INVARIANT: beyond it the engine raises an error, or wraps around in a group, which depends on single values. So it is known by
    the type, or by the power of ten that the values lie below (see `World.bounds`), before data is touched. Under the strict profile
    by the type alone: data may lie outside what was declared.
    """
    digits, scale = dtype.precision or DIGITS, dtype.scale or 0
    left = DIGITS - scale - OF_ROWS
    if digits - scale <= left or not (world.measured or world.strict):
        return True
    if world.strict or value.low is None or value.high is None:
        return False
    size = max(abs(value.low), abs(value.high))
    return math.isfinite(size) and (size <= 1.0 or math.log10(size) <= left) and left >= 0


def largest(dtype: DType) -> float:
    """Return a number that a decimal type holds, as are all that are nearer to 0; the engine fails at some that are just beyond."""
    return math.nextafter(float(10 ** (dtype.precision or DIGITS) - 1) / 10.0 ** (dtype.scale or 0), 0.0)


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
