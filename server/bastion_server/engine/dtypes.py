"""Data types of the plan as Polars types, and back."""

from __future__ import annotations

import polars as pl
from bastion_plan.dtypes import SIMPLE, DType
from bastion_plan.errors import BindError

_SIMPLE: dict[str, pl.DataType] = {kind: getattr(pl, kind)() for kind in sorted(SIMPLE)}


def to_polars(dtype: DType) -> pl.DataType:
    """Return the Polars type.

    Raises:
        BindError: a type that no column can have (an unknown kind, a dynamic number).
    """
    match dtype.kind:
        case kind if kind in _SIMPLE:
            return _SIMPLE[kind]
        case "Datetime":
            return pl.Datetime(dtype.unit or "us", dtype.zone)  # type: ignore[arg-type]
        case "Duration":
            return pl.Duration(dtype.unit or "us")  # type: ignore[arg-type]
        case "List" if dtype.inner:
            return pl.List(to_polars(dtype.inner))
        case "Array" if dtype.inner and dtype.width is not None:
            return pl.Array(to_polars(dtype.inner), dtype.width)
        case "Struct":
            return pl.Struct({name: to_polars(inner) for name, inner in dtype.fields})
        case "Enum":
            return pl.Enum(list(dtype.categories))
        case "Decimal":
            return pl.Decimal(dtype.precision, dtype.scale or 0)
        case _:
            msg = f"{dtype.kind} is not a data type of columns."
            raise BindError(msg, code="plan.bind.dtype")


def from_polars(dtype: pl.DataType) -> DType:
    """Return the plan's type.

    Raises:
        BindError: a type that plans do not have (Object, Unknown, extension types).
    """
    match dtype:
        case pl.Datetime(time_unit=unit, time_zone=zone):
            return DType("Datetime", unit=unit, zone=zone)
        case pl.Duration(time_unit=unit):
            return DType("Duration", unit=unit)
        case pl.List(inner=inner):
            return DType("List", inner=from_polars(inner))  # type: ignore[arg-type]
        case pl.Array():
            width = dtype.shape[0]
            element = pl.Array(dtype.inner, dtype.shape[1:]) if _is_flattened(dtype) else dtype.inner
            return DType("Array", inner=from_polars(element), width=width)  # type: ignore[arg-type]
        case pl.Struct(fields=fields):
            return DType("Struct", fields=tuple((f.name, from_polars(f.dtype)) for f in fields))  # type: ignore[arg-type]
        case pl.Enum():
            return DType("Enum", categories=tuple(dtype.categories))
        case pl.Decimal(precision=precision, scale=scale):
            return DType("Decimal", precision=precision, scale=scale)
    kind = str(dtype.base_type())
    if kind not in _SIMPLE:
        msg = f"Columns of type {kind} cannot be used."
        raise BindError(msg, code="plan.bind.dtype", next_step="Cast or drop them before the upload.")
    return DType(kind)


def _is_flattened(dtype: pl.Array) -> bool:
    return len(dtype.shape) > 1 and not isinstance(dtype.inner, pl.Array)
