"""Linear functions of columns, taken apart: what is summed is a plain column, and coefficients meet sums only.

INVARIANT: no arithmetic with the scientist's numbers runs on single rows where it can be helped. (x * 1e-21 + y) - y, for
a y that is 0 for one person, is that person's x: floats of all others lose it.
"""

from __future__ import annotations

from dataclasses import dataclass

from bastion_plan.dtypes import BOOLEAN, FLOAT64
from bastion_plan.expressions import Alias, AnyExpr, Call, Cast, Expr, Literal, Ternary

from bastion_policy.boundary import call
from bastion_policy.flow_trees import is_scalar, number

#: parts of one linear combination
MAX_PARTS = 32


@dataclass(frozen=True)
class Linear:
    """The sum of coefficient * part, plus a shift; coefficients and shift are constant (None: 1 and 0)."""

    parts: tuple[tuple[Expr, AnyExpr | None], ...] = ()
    shift: AnyExpr | None = None

    @property
    def trivial(self) -> bool:
        """Whether it is one expression as it stands."""
        return self.shift is None and len(self.parts) == 1 and self.parts[0][1] is None


def linear(expr: Expr) -> Linear:
    """Return an expression as a linear function of the smallest expressions that are not linear themselves."""
    match expr:
        case Alias(input=inner):
            return linear(inner)
        case _ if is_scalar(expr):
            return Linear(shift=expr)  # type: ignore[arg-type]
        case Call(function="add" | "sub" as name, args=(one, two)):
            return _plus(linear(one), linear(two), name)
        case Call(function="neg", args=(inner,)):
            return _times(linear(inner), Literal(FLOAT64, -1.0), "mul")
        case Call(function="mul", args=(one, two)) if is_scalar(two):
            return _times(linear(one), two, "mul")
        case Call(function="mul", args=(one, two)) if is_scalar(one):
            return _times(linear(two), one, "mul")
        case Call(function="truediv", args=(one, two)) if is_scalar(two):
            return _times(linear(one), two, "truediv")
        case Cast(input=inner, dtype=dtype) if dtype == FLOAT64:
            below = linear(inner)
            return Linear(((expr, None),)) if below.trivial else below
        case Ternary(predicate=condition, truthy=Literal() as one, falsy=Literal() as two) if number(two) == 0:
            if number(one) is not None:
                return Linear(((call("fill_null", condition, Literal(BOOLEAN, False)), one),))
    return Linear(((expr, None),))


def _plus(one: Linear, two: Linear, name: str) -> Linear:
    parts = dict(one.parts)
    for part, factor in two.parts:
        before = parts.get(part)
        if part not in parts:
            parts[part] = factor if name == "add" else call("neg", _or(factor, 1.0))
        else:
            parts[part] = call(name, _or(before, 1.0), _or(factor, 1.0))
    shift = one.shift
    if two.shift is not None:
        shift = call(name, _or(one.shift, 0.0), two.shift)
    return Linear(tuple(parts.items()), shift)


def _times(value: Linear, by: AnyExpr, name: str) -> Linear:
    parts = tuple((part, call(name, _or(factor, 1.0), by)) for part, factor in value.parts)
    return Linear(parts, None if value.shift is None else call(name, value.shift, by))


def _or(expr: AnyExpr | None, otherwise: float) -> AnyExpr:
    return Literal(FLOAT64, otherwise) if expr is None else expr
