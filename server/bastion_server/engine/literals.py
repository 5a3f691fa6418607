"""Constants of the plan as Polars values, exactly: no value takes a way through Python that could round it."""

from __future__ import annotations

from typing import Any

import polars as pl
from bastion_plan.dtypes import DType
from bastion_plan.expressions import Literal
from polars._plr import lit as _scalar_literal  # what pl.lit itself ends in
from polars._utils.wrap import wrap_expr

from bastion_server.engine.dtypes import to_polars

#: types whose values are held as whole numbers in the plan, and the physical type behind them
_PHYSICAL = {"Date": pl.Int32(), "Datetime": pl.Int64(), "Duration": pl.Int64(), "Time": pl.Int64()}
#: types whose values are held as text in the plan
_TEXT = {"Int128", "Decimal", "Categorical", "Enum"}


def lower_literal(literal: Literal) -> pl.Expr:
    """Return a scalar literal of exactly the dtype and value of the plan's constant."""
    dtype, value = literal.dtype, literal.value
    if dtype.kind in {"DynInt", "DynFloat", "Null"}:
        return pl.lit(value)
    if value is not None and dtype.kind in {"String", "Boolean", "Binary"}:
        return pl.lit(value)
    return wrap_expr(_scalar_literal(series("literal", dtype, [value])._s, False, is_scalar=True))


def series(name: str, dtype: DType, values: list[Any] | tuple[Any, ...]) -> pl.Series:
    """Return a column of plan constants: `values` as `Literal.value` holds them."""
    target = to_polars(dtype)
    plain = pl.Series(name, [_python(dtype, v) for v in values], dtype=_carrier(dtype), strict=True)
    return plain if plain.dtype == target else plain.cast(target)


def _carrier(dtype: DType) -> pl.DataType:
    """The type in which the constants of `dtype` are held before the cast."""
    if dtype.kind in _PHYSICAL:
        return _PHYSICAL[dtype.kind]
    if dtype.kind in _TEXT:
        return pl.String()
    match dtype.kind:
        case "List" if dtype.inner:
            return pl.List(_carrier(dtype.inner))
        case "Array" if dtype.inner and dtype.width is not None:
            return pl.Array(_carrier(dtype.inner), dtype.width)
        case "Struct":
            return pl.Struct({name: _carrier(inner) for name, inner in dtype.fields})
    return to_polars(dtype)


def _python(dtype: DType, value: Any) -> Any:
    """The constant as the Python value that Polars' constructor takes."""
    if value is None:
        return None
    match dtype.kind:
        case "List" | "Array" if dtype.inner:
            return [_python(dtype.inner, v) for v in value]
        case "Struct":
            return {name: _python(inner, v) for (name, inner), v in zip(dtype.fields, value, strict=True)}
        case "Float32" | "Float64":
            return float(value)
    return value
