"""Expressions of the plan as Polars expressions.

Lowering is generic: the registered name is the name of the method (with its namespace, or of the function in `pl`), its
arguments become Polars expressions and its options Python constants. What differs from that is in `_EXCEPTIONS`.

INVARIANT: only names found in the register are looked up on Polars objects; no entry of the register reads files, loads
plugins or calls Python functions (tests/plan/functions/test_completeness.py lists what is left out and why).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import polars as pl
import polars.selectors as cs
from bastion_plan.errors import BindError
from bastion_plan.expressions import Alias, Call, Cast, Column, Expr, Literal, NameChange, Over, Selector, Ternary
from bastion_plan.functions.calls import LEFT_OUT, check_call, parameters
from bastion_plan.functions.packing import unpack
from bastion_plan.functions.spec import Arg, Function

import bastion_plan.functions  # noqa: F401  isort: skip  (registers every function)

from bastion_server.engine.dtypes import to_polars
from bastion_server.engine.literals import lower_literal, series
from bastion_server.engine.selectors import lower_selector


def lower_expr(expr: Expr) -> pl.Expr:
    """Return the Polars expression of a plan expression.

    Raises:
        BindError: a function, option or dtype that is not known.
    """
    match expr:
        case Column(name=name):
            return _column(name)
        case Literal():
            return lower_literal(expr)
        case Call():
            return _lower_call(expr)
        case Alias(input=inner, name=name):
            return lower_expr(inner).alias(name)
        case Cast(input=inner, dtype=dtype, strict=strict, wrap_numerical=wrap):
            return lower_expr(inner).cast(to_polars(dtype), strict=strict, wrap_numerical=wrap)
        case Ternary(predicate=predicate, truthy=truthy, falsy=falsy):
            return pl.when(lower_expr(predicate)).then(lower_expr(truthy)).otherwise(lower_expr(falsy))
        case Over():
            return _lower_over(expr)
        case NameChange(input=inner, kind=kind, values=values):
            return _lower_name(lower_expr(inner), kind, values)
        case Selector():
            return lower_selector(expr)
    msg = "The expression is of a kind this engine does not know."
    raise BindError(msg, code="plan.bind.expression")


def _column(name: str) -> pl.Expr:
    # INVARIANT: a column name is never a pattern: Polars reads "^…$" and "*" in pl.col as one.
    if name == "*" or (name.startswith("^") and name.endswith("$")):
        return cs.by_name(name)
    return pl.col(name)


def _lower_over(expr: Over) -> pl.Expr:
    return lower_expr(expr.input).over(
        [lower_expr(e) for e in expr.partition_by] or None,
        order_by=[lower_expr(e) for e in expr.order_by] or None,
        descending=expr.descending,
        nulls_last=expr.nulls_last,
        mapping_strategy=expr.mapping,  # type: ignore[arg-type]
    )


_NAME_CHANGES: dict[str, Callable[..., pl.Expr]] = {
    "keep": lambda e: e.name.keep(),
    "prefix": lambda e, text: e.name.prefix(text),
    "suffix": lambda e, text: e.name.suffix(text),
    "to_lowercase": lambda e: e.name.to_lowercase(),
    "to_uppercase": lambda e: e.name.to_uppercase(),
    "replace": lambda e, old, new: e.name.replace(old, new, literal=True),
}


def _lower_name(lowered: pl.Expr, kind: str, values: tuple[str, ...]) -> pl.Expr:
    if kind not in _NAME_CHANGES:
        msg = f"name.{kind} is not known."
        raise BindError(msg, code="plan.bind.name")
    return _NAME_CHANGES[kind](lowered, *values)


def _lower_call(call: Call) -> pl.Expr:
    function = check_call(call)
    described = parameters(function, len(call.args))
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for arg, given in zip(described, call.args, strict=True):
        if arg.optional and not arg.variadic and given == LEFT_OUT:
            continue
        lowered = _argument(arg, given)
        if arg.keyword or (arg.optional and not arg.variadic):
            keywords[arg.name] = lowered
        else:
            positional.append(lowered)
    for name, constant in call.options:
        keywords[name] = _option(function, name, constant)
    special = _EXCEPTIONS.get(function.name)
    if special is not None:
        return special(*positional, **keywords)
    return _called(function, positional, keywords)


def _called(function: Function, positional: list[Any], keywords: dict[str, Any]) -> pl.Expr:
    if not function.method:
        return getattr(pl, function.short_name)(*positional, **keywords)  # type: ignore[no-any-return]
    owner = positional[0]
    if function.namespace:
        owner = getattr(owner, function.namespace)
    return getattr(owner, function.short_name)(*positional[1:], **keywords)  # type: ignore[no-any-return]


def _argument(arg: Arg, given: Expr) -> Any:
    if arg.list_is_column and isinstance(given, Literal) and given.dtype.kind == "List" and given.dtype.inner:
        values = series("literal", given.dtype.inner, given.value or ())
        return values if arg.constant else pl.lit(values)
    return lower_expr(given)


def _option(function: Function, name: str, constant: Any) -> Any:
    option = function.option(name)
    if option is not None and option.kind == "dtype" and constant is not None:
        return to_polars(unpack(constant))
    if option is not None and option.kind == "bools" and len(constant) == 1:
        return constant[0]
    return list(constant) if isinstance(constant, tuple) else constant


def _old_name(method: str) -> Callable[..., pl.Expr]:
    """A method that Polars still has under its old name, without the note that it is old."""

    def call(owner: pl.Expr, *args: Any, **keywords: Any) -> pl.Expr:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return getattr(owner, method)(*args, **keywords)  # type: ignore[no-any-return]

    return call


#: what cannot be called by its registered name
_EXCEPTIONS: dict[str, Callable[..., pl.Expr]] = {
    "cut": _old_name("cut"),
    "qcut": _old_name("qcut"),
    "list.concat": lambda owner, *others: owner.list.concat(list(others)),
    "fill_null_strategy": lambda owner, **keywords: owner.fill_null(**keywords),
    "pl.format": lambda *args, f_string: pl.format(f_string, *args),
}
