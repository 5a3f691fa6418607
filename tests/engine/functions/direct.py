"""A call of the plan written down as a person would write it with Polars: the independent side of the comparison.

It knows Polars only: the method is looked up by name, Polars' own signature decides what goes by keyword, and constants
are the Python values (`datetime.date`, `Decimal`, plain lists …) that a person would pass, never plan literals.
"""

from __future__ import annotations

import datetime as dt
import inspect
import warnings
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from bastion_plan.dtypes import DType
from bastion_plan.expressions import Call, Column, Expr, Literal
from bastion_plan.functions.registry import get

_EPOCH = dt.datetime(1970, 1, 1)
_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}
#: options that hold a data type
_TYPED = {"dtype", "return_dtype"}


def polars_type(dtype: DType) -> pl.DataType:
    """Return the Polars type, by Polars' names."""
    match dtype.kind:
        case "Datetime":
            return pl.Datetime(dtype.unit, dtype.zone)
        case "Duration":
            return pl.Duration(dtype.unit)
        case "List":
            return pl.List(polars_type(dtype.inner))
        case "Array":
            return pl.Array(polars_type(dtype.inner), dtype.width)
        case "Struct":
            return pl.Struct({name: polars_type(inner) for name, inner in dtype.fields})
        case "Enum":
            return pl.Enum(dtype.categories)
        case "Decimal":
            return pl.Decimal(dtype.precision, dtype.scale)
    return getattr(pl, dtype.kind)()


def python_value(dtype: DType, value: Any) -> Any:
    """Return the Python value a person would write; None where Python cannot say it exactly (nanoseconds)."""
    if value is None:
        return None
    match dtype.kind:
        case "Date":
            return dt.date(1970, 1, 1) + dt.timedelta(days=value)
        case "Datetime":
            moment = _EPOCH + dt.timedelta(microseconds=value * 10**6 // _PER_SECOND[dtype.unit])
            return moment.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(dtype.zone)) if dtype.zone else moment
        case "Duration":
            return dt.timedelta(microseconds=value * 10**6 // _PER_SECOND[dtype.unit])
        case "Time":
            return (_EPOCH + dt.timedelta(microseconds=value // 1000)).time()
        case "Decimal":
            return Decimal(value)
        case "Int128":
            return int(value)
        case "List" | "Array":
            return [python_value(dtype.inner, v) for v in value]
        case "Struct":
            return {name: python_value(inner, v) for (name, inner), v in zip(dtype.fields, value, strict=True)}
    return value


#: types whose Python value alone tells Polars the type
_PLAIN = {"DynInt", "DynFloat", "Boolean", "Binary", "Null", "Date", "Time"}


def _is_plain(dtype: DType) -> bool:
    if dtype.kind == "List":
        return dtype.inner.kind in {"Int64", "Float64", "String", "Boolean", "Date"}
    return dtype.kind in _PLAIN or (dtype.kind in {"Datetime", "Duration"} and dtype.unit == "us" and not dtype.zone)


def _is_exact(literal: Literal) -> bool:
    """Whether Python has the value: its times have no nanoseconds."""
    return literal.dtype.kind != "Time" or (literal.value or 0) % 1000 == 0


def _literal(literal: Literal) -> pl.Expr:
    dtype, value = literal.dtype, literal.value
    if not _is_exact(literal):
        return pl.lit(value, dtype=pl.Int64).cast(pl.Time)
    if dtype.kind == "String" or (_is_plain(dtype) and value is not None and dtype.kind != "List"):
        return pl.lit(python_value(dtype, value))
    if dtype.kind in {"Datetime", "Duration"}:
        return pl.lit(value, dtype=pl.Int64).cast(polars_type(dtype))
    if dtype.kind == "Decimal" and value is not None:
        return pl.lit(Decimal(value)).cast(polars_type(dtype))
    return pl.lit(python_value(dtype, value), dtype=polars_type(dtype) if dtype.kind != "Null" else None)


def _argument(expr: Expr, is_column: bool) -> Any:
    """A bare Python value where Polars takes one as such, else an expression."""
    if isinstance(expr, Column):
        return pl.col(expr.name)
    if isinstance(expr, Call):
        return direct(expr)
    assert isinstance(expr, Literal)
    if expr.dtype.kind == "String":
        return pl.lit(expr.value) if is_column else expr.value
    if (
        _is_plain(expr.dtype)
        and _is_exact(expr)
        and not (expr.dtype.kind == "List" and (not expr.value or None in expr.value))
    ):
        return python_value(expr.dtype, expr.value)
    return _literal(expr)


def _quietly(method: Callable[..., pl.Expr]) -> Callable[..., pl.Expr]:
    def call(*args: Any, **keywords: Any) -> pl.Expr:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return method(*args, **keywords)

    return call


def _expression(value: Any) -> pl.Expr:
    return value if isinstance(value, pl.Expr) else pl.lit(value)


#: calls whose Polars spelling is another one
SPELLINGS: dict[str, Callable[..., pl.Expr]] = {
    "cut": _quietly(pl.Expr.cut),
    "qcut": _quietly(pl.Expr.qcut),
    "fill_null_strategy": lambda column, **keywords: column.fill_null(**keywords),
    "list.concat": lambda column, *others: column.list.concat([_expression(o) for o in others]),
    "pl.arctan2": lambda y, x: pl.arctan2(_expression(y), _expression(x)),
    "dot": lambda column, other: column.dot(_expression(other)),
    "pl.format": lambda *columns, f_string: pl.format(f_string, *columns),
}  # fmt: skip


def callee(name: str, column: pl.Expr | None) -> Callable[..., pl.Expr]:
    """Return the bound Polars method, or the function of `pl`."""
    space, _, method = name.rpartition(".")
    if space == "pl":
        return getattr(pl, method)
    return getattr(getattr(column, space) if space else column, method)


def direct(call: Call) -> pl.Expr:
    """Return the Polars expression of a call, built from Polars' side."""
    function = get(call.function)
    described = list(function.args)
    described += [described[-1]] * (len(call.args) - len(described)) if described else []
    values = [_argument(e, a.string_is_column) for e, a in zip(call.args, described, strict=False)]
    options = {name: _option(name, value) for name, value in call.options}
    if function.method:
        column = values[0] if isinstance(values[0], pl.Expr) else pl.lit(values[0])
        rest, names = values[1:], [a.name for a in described[1 : len(values)]]
        method = callee(call.function, column) if call.function not in SPELLINGS else None
    else:
        rest, names, column = values, [a.name for a in described[: len(values)]], None
        method = callee(call.function, None) if call.function not in SPELLINGS else None
    if method is None:
        return SPELLINGS[call.function](*([column] if column is not None else []), *rest, **options)
    accepted = inspect.signature(method).parameters
    positional, keywords = [], dict(options)
    for name, value, arg in zip(names, rest, described[-len(names) :] if names else [], strict=True):
        kind = accepted[name].kind if name in accepted else None
        if arg.optional and value is None:
            continue
        if kind is inspect.Parameter.KEYWORD_ONLY or (arg.optional and not arg.variadic):
            keywords[name] = value
        else:
            positional.append(value)
    return method(*positional, **keywords)


def _option(name: str, value: Any) -> Any:
    if name in _TYPED and value is not None:
        from bastion_plan.functions.packing import unpack

        return polars_type(unpack(value))
    if isinstance(value, tuple):
        return value[0] if len(value) == 1 and isinstance(value[0], bool) else list(value)
    return value
