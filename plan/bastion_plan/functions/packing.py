"""Data types as plain constants, so that an option of a call can hold one.

>>> pack(list_of(INT64))
('List', 'Int64')
>>> unpack(("Datetime", "us", None))
DType(kind='Datetime', unit='us', zone=None, inner=None, width=None, fields=(), categories=(), precision=None, scale=None)
"""

from __future__ import annotations

from typing import Any

from bastion_plan.dtypes import INT64 as INT64
from bastion_plan.dtypes import SIMPLE, DType
from bastion_plan.dtypes import list_of as list_of
from bastion_plan.errors import BindError

UNITS = ("ms", "us", "ns")


def pack(dtype: DType) -> Any:
    """Return the one constant that stands for `dtype`: its name, or a tuple of its name and parameters."""
    match dtype.kind:
        case "Datetime":
            return ("Datetime", dtype.unit, dtype.zone)
        case "Duration":
            return ("Duration", dtype.unit)
        case "List" if dtype.inner is not None:
            return ("List", pack(dtype.inner))
        case "Array" if dtype.inner is not None:
            return ("Array", pack(dtype.inner), dtype.width)
        case "Struct":
            return ("Struct", tuple((name, pack(inner)) for name, inner in dtype.fields))
        case "Enum":
            return ("Enum", dtype.categories)
        case "Decimal":
            return ("Decimal", dtype.precision, dtype.scale)
        case _:
            return dtype.kind


def unpack(value: Any) -> DType:
    """Return the dtype of a packed constant.

    Raises:
        BindError: it is not what `pack` gives.
    """
    try:
        dtype = _unpack(value)
    except (TypeError, ValueError):
        dtype = None
    if dtype is None:
        msg = "A data type in the plan's options cannot be understood."
        raise BindError(msg, code="plan.bind.dtype", next_step="Use one of Polars' data types.")
    return dtype


def _unpack(value: Any) -> DType | None:
    match value:
        case str() if value in SIMPLE:
            return DType(value)
        case ("Datetime", str() as unit, zone) if unit in UNITS and (zone is None or isinstance(zone, str)):
            return DType("Datetime", unit=unit, zone=zone)
        case ("Duration", str() as unit) if unit in UNITS:
            return DType("Duration", unit=unit)
        case ("List", inner):
            return DType("List", inner=unpack(inner))
        case ("Array", inner, int() as width) if width >= 0:
            return DType("Array", inner=unpack(inner), width=width)
        case ("Struct", tuple() as fields):
            return DType("Struct", fields=tuple((_text(name), unpack(inner)) for name, inner in fields))
        case ("Enum", tuple() as categories):
            return DType("Enum", categories=tuple(_text(c) for c in categories))
        case ("Decimal", int() as precision, int() as scale) if 0 <= scale <= precision <= 38:
            return DType("Decimal", precision=precision, scale=scale)
        case _:
            return None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        msg = "not a name"
        raise TypeError(msg)
    return value
