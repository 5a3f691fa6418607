"""Expressions as trees: what is in them, whether they reduce, and how to rewrite them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from bastion_plan.expressions import Alias, AnyExpr, Call, Cast, Column, Expr, Literal, Over, Ternary, children
from bastion_plan.functions.registry import find
from bastion_plan.functions.spec import Flow as FunctionFlow
from bastion_plan.functions.spec import Shape


def with_children(expr: Expr, new: Sequence[Expr]) -> AnyExpr:
    """Return `expr` over other sub-expressions, in the order of `children`."""
    match expr:
        case Call():
            return msgspec.structs.replace(expr, args=tuple(new))
        case Ternary():
            return Ternary(*new)  # type: ignore[arg-type]
        case Cast() | Alias():
            return msgspec.structs.replace(expr, input=new[0])
        case Over(partition_by=keys):
            return msgspec.structs.replace(
                expr, input=new[0], partition_by=tuple(new[1 : 1 + len(keys)]), order_by=tuple(new[1 + len(keys) :])
            )
        case _:
            return expr  # type: ignore[return-value]


def rewrite(expr: Expr, change: Callable[[AnyExpr], AnyExpr]) -> AnyExpr:
    """Return `expr` with `change` applied to every sub-expression, innermost first."""
    below = children(expr)
    return change(with_children(expr, [rewrite(c, change) for c in below]) if below else expr)  # type: ignore[arg-type]


def columns_in(expr: Expr) -> set[str]:
    """Return the names of the columns in an expression."""
    if isinstance(expr, Column):
        return {expr.name}
    return {name for c in children(expr) for name in columns_in(c)}


def written_down(expr: Expr) -> bool:
    """Whether an expression reads nothing at all: constants, and functions of them one by one."""
    alone = row_by_row(expr) if isinstance(expr, Call) else isinstance(expr, Literal | Cast | Alias | Ternary)
    return alone and all(map(written_down, children(expr)))


def row_by_row(call: Call) -> bool:
    """Whether a function gives a value for each row by itself."""
    function = find(call.function)
    return function is not None and function.flow is FunctionFlow.ELEMENTWISE and function.shape is Shape.SAME


def is_scalar(expr: Expr) -> bool:
    """Whether the expression gives one value for the whole frame or group."""
    match expr:
        case Literal():
            return True
        case Column() | Over():
            return False
        case Call(function=name, args=args):
            function = find(name)
            if function is None:
                return False
            if function.shape is not Shape.SAME:
                return function.shape is Shape.ONE
            return bool(args) and all(map(is_scalar, args))
        case _:
            return all(map(is_scalar, children(expr)))


def reduces(expr: Expr) -> bool:
    """Whether a reducing function stands somewhere in the expression."""
    if isinstance(expr, Call):
        function = find(expr.function)
        if function is not None and function.shape is Shape.ONE and function.flow is not FunctionFlow.ELEMENTWISE:
            return True
    return any(map(reduces, children(expr)))


def number(expr: Expr) -> float | None:
    """Return the number of a numeric literal (behind signs and casts), else None."""
    match expr:
        case Literal(value=value) if isinstance(value, bool | int | float):
            return float(value)
        case Call(function="neg", args=(inner,)):
            found = number(inner)
            return None if found is None else -found
        case Cast(input=inner) | Alias(input=inner):
            return number(inner)
        case _:
            return None


def output_name(expr: Expr) -> str:
    """Return the output name of a bound expression."""
    match expr:
        case Alias(name=name) | Column(name=name):
            return name
        case _:
            msg = "a bound expression is a column or an alias"
            raise AssertionError(msg)
