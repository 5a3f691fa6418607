"""What the strict profile adds to the static rules: which arguments statistics take, and how counts of values are read.

INVARIANT: everything here is a function of the plan and of declared roles; nothing looks at values, at observed bounds or
at which values are missing. Who is in a population is checked in `statistics.check_condition`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import replace

from bastion_plan.dtypes import FLOAT64, DType
from bastion_plan.expressions import Alias, AnyExpr, Call, Cast, Column, Expr, Literal, Ternary

from bastion_policy.boundary import call
from bastion_policy.flow_linear import linear
from bastion_policy.flow_trees import number, with_children
from bastion_policy.lineage import Form, Frame, Source, Value, World
from bastion_policy.roles import RoleKind
from bastion_policy.verdict import Finding

#: statistics of which an affine function of the argument is an affine function
MOMENTS = frozenset({"sum", "mean", "var", "std", "pl.cov", "pl.corr"})
FIX = "Use a column, or a * column + b inside the aggregate, or ask the owner to list the formula (derived=)."


def secret(sources: frozenset[Source], world: World) -> bool:
    """Whether some column is neither quasi nor public: nothing that is decided may depend on it."""
    return any(world.role(s).kind not in (RoleKind.QUASI, RoleKind.PUBLIC) for s in sources)


def line_of(expr: Expr, frame: Frame) -> tuple[Source, float, float] | None:
    """Return (x, a, b) if an expression is a * x + b of a stored column with constants."""
    made = linear(expr)
    if len(made.parts) != 1 or not isinstance(made.parts[0][0], Column):
        return None
    name = made.parts[0][0].name
    value, dtype = frame.columns.get(name), frame.schema.get(name)
    if value is None or dtype is None or not dtype.is_numeric or dtype.kind == "Decimal":
        return None
    line = value.line or ((value.plain, 1.0, 0.0) if value.plain is not None and value.stored else None)
    factor = 1.0 if made.parts[0][1] is None else _constant(made.parts[0][1])
    shift = 0.0 if made.shift is None else _constant(made.shift)
    if line is None or factor is None or shift is None:
        return None
    source, a, b = line
    found = (source, a * factor, b * factor + shift)
    return found if all(map(math.isfinite, found[1:])) else None


def _constant(expr: Expr) -> float | None:
    """Return the value of arithmetic over numbers."""
    match expr:
        case Call(function="neg" | "add" | "sub" | "mul" | "truediv" as name, args=args):
            values = [_constant(a) for a in args]
            if any(v is None for v in values) or (name == "truediv" and not values[1]):
                return None
            return float(_ARITHMETIC[name](*values))
        case Cast(input=inner, dtype=target) if target == FLOAT64:
            return _constant(inner)
        case _:
            return number(expr)


_ARITHMETIC: dict[str, Callable[..., float]] = {
    "neg": operator.neg, "add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv,
}  # fmt: skip


def uncast(expr: Call, frame: Frame, dtype: Callable[[Expr], DType]) -> Call:
    """Return a statistic of the stored column behind an affine column or a cast: it is rounded and stored as that one's."""
    if expr.function not in MOMENTS:
        return expr

    def bare(arg: Expr) -> Expr:
        match arg:
            case Alias(input=inner):
                return bare(inner)
            case Column(name=name) if (line := frame.columns[name].line if name in frame.columns else None) is not None:
                origin, a, b = line
                stored = next((c for c, v in frame.columns.items() if v.plain == origin and v.stored), None)
                if stored is None:
                    return arg
                scaled = call("mul", Column(stored), Literal(FLOAT64, a))
                return call("add", scaled, Literal(FLOAT64, b))
            case Call(function="filter" | "drop_nulls", args=(inner, *conditions)):
                return with_children(arg, [bare(inner), *conditions])
            case Cast(input=inner, dtype=target):
                source = dtype(inner)
                number = target == FLOAT64 and source.is_numeric and source.kind != "Decimal"
                bit = source.kind == "Boolean" and target.is_numeric and expr.function in ("sum", "mean")
                return bare(inner) if number or bit else arg
            case _:
                return arg

    found = with_children(expr, [bare(a) for a in expr.args])
    assert isinstance(found, Call)
    return found


def counted(expr: Call, values: Sequence[Value], world: World) -> Call | None:
    """Return count(x) and null_count(x) of a secret column as what they are: the sum of a condition on it.

    INVARIANT: fewer than k people with a value are nobody, fewer than k without one are everybody.
    """
    if expr.function not in ("count", "null_count") or len(values) != 1 or not values[0].stored:
        return None
    plain = values[0].plain
    if values[0].makes_nulls or not secret(values[0].sources, world) or (plain is not None and world.is_unit(plain)):
        return None

    def bits(arg: Expr) -> AnyExpr:
        match arg:
            case Alias(input=inner):
                return bits(inner)
            case Call(function="filter", args=(inner, *conditions)):
                return call("filter", bits(inner), *conditions)
            case Call(function="drop_nulls", args=(inner,)) if expr.function == "count":
                return bits(inner)  # what is dropped has no value, and would not be counted
            case Ternary(predicate=condition, truthy=inner, falsy=Literal(value=None)) if expr.function == "count":
                return call("filter", bits(inner), condition)
            case _:
                return call("is_not_null" if expr.function == "count" else "is_null", arg)

    return Call("sum", (bits(expr.args[0]),))


def with_bounds(value: Value, world: World) -> Value:
    """Return the argument with the bounds that the value rules may rely on: of stored columns only, measured ones."""
    low, high = world.widest(value.plain) if value.plain is not None else (None, None)
    return value if value.form is not Form.COLUMN else replace(value, low=low, high=high)


def check_arguments(
    expr: Call,
    args: Sequence[Expr],
    values: Sequence[Value],
    dtype: Callable[[Expr], DType],
    typed: Callable[[Expr], Value],
) -> list[Finding]:
    """Check that every argument is a column, an affine function of one, or a formula the owner listed."""
    for arg, value in zip(args, values, strict=True):
        concerned = tuple(sorted({s.label for s in value.sources if not s.counted}))
        if not value.sources and value.form is Form.CONSTANT:
            continue
        if expr.function in MOMENTS:
            if dtype(arg).is_temporal:
                reason = f"Under the strict profile {expr.function}() is not given of dates, times and durations."
                return [Finding("strict-argument", reason, "Use median, min or max.", concerned)]
            parts = [typed(part) for part, _ in linear(arg).parts]
            nulls = value.form is Form.NULLS and expr.function in ("sum", "mean")
            fine = nulls or (len(parts) <= 1 and all(p.stored for p in parts))
        else:
            fine = value.stored
        if not fine:
            reason = (
                f"Under the strict profile {expr.function}() takes a column, an affine function of one, "
                "or a formula that the owner listed."
            )
            return [Finding("strict-argument", reason, FIX, concerned)]
    return []
