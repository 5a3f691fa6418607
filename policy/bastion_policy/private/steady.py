"""Arithmetic that gives a row the same bits wherever it stands.

The engine cuts a table into pieces, and how large they are depends on how many rows there are. Where a divisor is one value for a whole
piece (a constant, or what a condition chose for all of its rows), it multiplies by the reciprocal, and in a piece of one row it divides:
0.3 // 0.1 is 3 among others and 2 alone. Nought is left out where it is added to several rows and added to a single one, so that -0.0
becomes 0.0 there. Either way other people's numbers would change with whoever is gone, all at once, and noise is made for one.

So divisors are columns: nothing (0, from the place of each row) is added to them. Places differ, so no piece takes them for one value; and
a divisor that is -0.0 is 0.0. A number that becomes text is treated alike.

INVARIANT: quotients are made element by element, and the sign of nought is read nowhere: only a division and a text tell 0.0 from -0.0.
"""

from __future__ import annotations

from bastion_plan.dtypes import INT64, DType, Schema
from bastion_plan.expressions import AnyExpr, Call, Cast, Column, Expr, Literal, Ternary, children
from bastion_plan.typing import expr_dtype

from bastion_policy.boundary import call
from bastion_policy.flow_trees import with_children, written_down

_QUOTIENTS = frozenset({"truediv", "floordiv", "mod"})


def steady(expr: Expr, schema: Schema, place: str) -> AnyExpr:
    """Return an expression over people's rows whose values do not depend on which rows stand beside. place: a column that differs.

    Raises:
        BindError: an argument has no type.
    """
    below = children(expr)
    made = with_children(expr, [steady(c, schema, place) for c in below])
    if written_down(expr):
        return made
    match expr, made:
        case Call(function=name), Call(args=(dividend, divisor)) if name in _QUOTIENTS:
            dtype, kind = expr_dtype(expr, schema), expr_dtype(below[1], schema)
            if not dtype.is_float:
                return made  # whole numbers are exact, and a duration's quotient by a number is one as well
            if not kind.is_temporal:
                divisor, kind = Cast(divisor, dtype, strict=False), dtype
            return call(name, dividend, call("add", divisor, _nothing(place, kind)))
        case Cast(input=inner), Cast(input=number, dtype=DType(kind="String")):
            dtype = expr_dtype(inner, schema)
            if dtype.is_float:
                return Cast(call("add", number, _nothing(place, dtype)), made.dtype, strict=False)
    return made


def unsigned(number: AnyExpr, dtype: DType) -> AnyExpr:
    """Return a number, 0.0 where it is -0.0: they are equal, and which is the smaller depends on the order of rows."""
    if not dtype.is_float:
        return number
    nought = Literal(dtype, 0.0)
    return Ternary(call("eq", number, nought), nought, number)


def _nothing(place: str, dtype: DType) -> AnyExpr:
    """Return 0 in each row, as a column: no constant that is spread over the rows."""
    none: AnyExpr = call("is_null", Column(place))
    return Cast(Cast(none, INT64, strict=False) if dtype.is_temporal else none, dtype, strict=False)
