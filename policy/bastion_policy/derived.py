"""Arithmetic over several columns that an owner allows, as plan expressions."""

from __future__ import annotations

import ast

from bastion_plan.dtypes import DYN_FLOAT, DYN_INT
from bastion_plan.errors import PlanError
from bastion_plan.expressions import AnyExpr, Call, Column, Expr, Literal, children

from bastion_policy.rules import refuse

_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "truediv",
    ast.Pow: "pow",
}
MAX_LENGTH = 1000


def parse_derived(name: str, text: str) -> Expr:
    """Return the plan expression of an owner's arithmetic.

    text: columns, numbers, + - * / ** and parentheses, e.g. "weight / height ** 2"; a column whose name is not a
    Python name is written col("body weight").

    Raises:
        PolicyError: policy.derived, with what is not allowed.
    """
    hint = 'Write arithmetic over columns, such as "weight / height ** 2" or "col(\'body weight\') / 2".'
    if not isinstance(text, str) or len(text) > MAX_LENGTH:
        raise refuse(
            "derived",
            f"derived.{name} must be a text of at most {MAX_LENGTH} characters.",
            next_step=hint,
            path=f"derived.{name}",
        )
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        found = _expression(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError, PlanError):
        raise refuse(
            "derived", f"derived.{name} is not arithmetic over columns.", next_step=hint, path=f"derived.{name}"
        ) from None
    if not columns_of(found):
        raise refuse("derived", f"derived.{name} names no column.", next_step=hint, path=f"derived.{name}")
    return found


def columns_of(expr: Expr) -> tuple[str, ...]:
    """Return the names of the columns in an expression, each once, in order of appearance."""
    names: dict[str, None] = {}
    stack: list[Expr] = [expr]
    while stack:
        item = stack.pop()
        if isinstance(item, Column):
            names[item.name] = None
        stack.extend(reversed(children(item)))
    return tuple(names)


def _expression(node: ast.expr) -> AnyExpr:
    match node:
        case ast.Name(id=column):
            return Column(column)
        case ast.Call(func=ast.Name(id="col"), args=[ast.Constant(value=str(column))], keywords=[]):
            return Column(column)
        case ast.Constant(value=bool()):
            raise ValueError
        case ast.Constant(value=int(number)):
            return Literal(DYN_INT, number)
        case ast.Constant(value=float(number)):
            return Literal(DYN_FLOAT, number)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return Call("neg", (_expression(operand),))
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _BINARY:
            return Call(_BINARY[type(operator)], (_expression(left), _expression(right)))
        case _:
            raise ValueError
