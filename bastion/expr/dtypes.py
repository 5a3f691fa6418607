"""Polars' data types to the plan's, and back."""

from __future__ import annotations

from typing import Any

import polars as pl
from bastion_plan import dtypes as dt
from bastion_plan.dtypes import DType, Schema
from bastion_plan.errors import InputError, did_you_mean

_SIMPLE: dict[str, Any] = {name: getattr(pl, name) for name in sorted(dt.SIMPLE) if hasattr(pl, name)}
_PYTHON: dict[Any, DType] = {int: dt.INT64, float: dt.FLOAT64, bool: dt.BOOLEAN, str: dt.STRING, bytes: dt.BINARY}
_BY_NAME = {name.lower(): DType(name) for name in dt.SIMPLE} | {
    "utf8": dt.STRING,
    "str": dt.STRING,
    "int": dt.INT64,
    "float": dt.FLOAT64,
    "bool": dt.BOOLEAN,
    "datetime": dt.datetime(),
    "duration": dt.duration(),
}


def to_dtype(value: Any) -> DType:
    """Return the plan's type of a Polars data type (class or instance), a Python type, a type name or a plan's type.

    Raises:
        InputError: a type that no column of a plan can have.
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, str):
        return _from_name(value)
    if isinstance(value, type) and not issubclass(value, pl.DataType):
        return _from_python(value)
    if isinstance(value, pl.DataType) or (isinstance(value, type) and issubclass(value, pl.DataType)):
        return _from_polars(value)
    msg = f"{type(value).__name__!r} is not a data type."
    raise InputError(msg, code="input.dtype", next_step="Write for example pl.Float64 or pl.String.")


def _from_name(name: str) -> DType:
    found = _BY_NAME.get(name.lower())
    if found is None:
        msg = f"There is no data type {name!r}."
        raise InputError(msg, code="input.dtype", next_step=did_you_mean(name, dt.SIMPLE))
    return found


def _from_python(value: type) -> DType:
    from datetime import date, datetime, time, timedelta

    table = _PYTHON | {date: dt.DATE, datetime: dt.datetime(), time: dt.TIME, timedelta: dt.duration()}
    if value not in table:
        msg = f"The Python type {value.__name__!r} is not a data type of a column."
        raise InputError(msg, code="input.dtype", next_step="Write for example pl.Float64 or pl.String.")
    return table[value]


def _from_polars(value: Any) -> DType:
    instance = value if isinstance(value, pl.DataType) else None
    name = type(value).__name__ if instance is not None else value.__name__
    match name:
        case "Datetime":
            return dt.datetime(getattr(value, "time_unit", None) or "us", getattr(instance, "time_zone", None))
        case "Duration":
            return dt.duration(getattr(value, "time_unit", None) or "us")
        case "List" if instance is not None:
            return dt.list_of(to_dtype(value.inner))
        case "Array" if instance is not None:
            if isinstance(value.inner, pl.Array):
                return DType("Array", inner=to_dtype(value.inner), width=value.shape[0])
            return DType("Array", inner=to_dtype(value.inner), width=value.size)
        case "Struct" if instance is not None:
            return DType("Struct", fields=tuple((f.name, to_dtype(f.dtype)) for f in value.fields))
        case "Enum" if instance is not None:
            return DType("Enum", categories=tuple(value.categories.to_list()))
        case "Decimal":
            return DType(
                "Decimal", precision=getattr(instance, "precision", None) or 38, scale=getattr(instance, "scale", 0)
            )
        case "Categorical":
            return dt.CATEGORICAL
        case _ if name in dt.SIMPLE:
            return DType(name)
    msg = f"The data type {name} cannot be used here."
    step = "Give its inner type, for example pl.List(pl.Int64)." if name in {"List", "Array", "Struct", "Enum"} else ""
    raise InputError(msg, code="input.dtype", next_step=step)


def to_polars(dtype: DType) -> pl.DataType:
    """Return Polars' data type of a plan's type (dynamic literal types become their default width)."""
    match dtype.kind:
        case "Datetime":
            return pl.Datetime(dtype.unit or "us", dtype.zone)  # type: ignore[arg-type]
        case "Duration":
            return pl.Duration(dtype.unit or "us")  # type: ignore[arg-type]
        case "List":
            return pl.List(to_polars(dtype.inner or dt.NULL))
        case "Array":
            return pl.Array(to_polars(dtype.inner or dt.NULL), dtype.width or 0)
        case "Struct":
            return pl.Struct([pl.Field(n, to_polars(t)) for n, t in dtype.fields])
        case "Enum":
            return pl.Enum(list(dtype.categories))
        case "Decimal":
            return pl.Decimal(dtype.precision, dtype.scale or 0)
        case "DynInt":
            return pl.Int64()
        case "DynFloat":
            return pl.Float64()
        case _:
            return _SIMPLE[dtype.kind]()  # type: ignore[no-any-return]


def polars_schema(schema: Schema) -> pl.Schema:
    """Return a plan's schema as Polars' own."""
    return pl.Schema({name: to_polars(dtype) for name, dtype in schema.items()})
