"""Python values to typed literals of the plan, as Polars reads them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from bastion_plan import dtypes as dt
from bastion_plan.dtypes import DType
from bastion_plan.errors import InputError
from bastion_plan.expressions import Literal

from bastion.expr.dtypes import to_dtype

_EPOCH = datetime(1970, 1, 1)
_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}


def literal(value: Any, dtype: Any = None) -> Literal:
    """Return the literal of a Python value.

    Args:
        value: None, bool, int, float, str, bytes, date, time, datetime, timedelta, Decimal, a list of such values, a
            dict (a struct), a Polars Series, or a NumPy scalar.
        dtype: data type to give it; None for the one Polars would choose.

    Raises:
        InputError: a value that cannot be part of a plan.
    """
    if dtype is not None:
        return _typed(value, to_dtype(dtype))
    if isinstance(value, pl.Series):
        return _typed(value.to_list(), dt.list_of(to_dtype(value.dtype)))
    if isinstance(value, list | tuple | set | frozenset | range):
        return _list(sorted(value) if isinstance(value, set | frozenset) else list(value))
    if isinstance(value, dict):
        fields = {str(k): literal(v) for k, v in value.items()}
        own = DType("Struct", fields=tuple((k, _settled(v.dtype)) for k, v in fields.items()))
        return Literal(own, tuple(v.value for v in fields.values()))
    item = getattr(value, "item", None)
    if item is not None and getattr(value, "ndim", None) == 0:
        return literal(value.item(), to_dtype(str(value.dtype)) if str(value.dtype) in _NUMPY else None)
    return _scalar(value)


_NUMPY = {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)} | {"float32", "float64"}


def _scalar(value: Any) -> Literal:
    match value:
        case None:
            return Literal(dt.NULL)
        case bool():
            return Literal(dt.BOOLEAN, value)
        case int():
            if -(2**63) <= value < 2**63:
                return Literal(dt.DYN_INT, value)
            if 0 <= value < 2**64:
                return Literal(dt.UINT64, value)
            return Literal(dt.INT128, _wide(value))
        case float():
            return Literal(dt.DYN_FLOAT, value)
        case str():
            return Literal(dt.STRING, value)
        case bytes() | bytearray():
            return Literal(dt.BINARY, bytes(value))
        case datetime():
            return _typed(value, dt.datetime("us", _zone(value)))
        case date():
            return _typed(value, dt.DATE)
        case time():
            return _typed(value, dt.TIME)
        case timedelta():
            return _typed(value, dt.duration("us"))
        case Decimal():
            return _typed(value, _decimal_type(value))
        case _:
            msg = f"A Python value of type {type(value).__name__!r} cannot be part of a plan."
            raise InputError(
                msg, code="input.literal", next_step="Use numbers, strings, booleans, dates, times, or lists of them."
            )


def _wide(value: int) -> str:
    if not -(2**127) <= value < 2**127:
        msg = "The integer does not fit into 128 bits."
        raise InputError(msg, code="input.literal", next_step="Use a float.")
    return str(value)


def _zone(value: datetime) -> str | None:
    if value.tzinfo is None:
        return None
    key = getattr(value.tzinfo, "key", None)
    if key:
        return str(key)
    if value.utcoffset() == timedelta(0):
        return "UTC"
    msg = "A datetime with a fixed offset has no named time zone."
    raise InputError(msg, code="input.literal", next_step="Use zoneinfo.ZoneInfo('Area/City') or UTC.")


def _decimal_type(value: Decimal) -> DType:
    if not value.is_finite():
        msg = "A decimal has to be finite."
        raise InputError(msg, code="input.literal", next_step="Use None, or a float.")
    exponent = value.as_tuple().exponent
    return DType("Decimal", precision=38, scale=max(0, -exponent if isinstance(exponent, int) else 0))


def _list(values: list[Any]) -> Literal:
    if not values:
        return Literal(dt.list_of(dt.NULL), ())
    try:
        series = pl.Series(values, strict=True) if not any(isinstance(v, Decimal) for v in values) else None
    except (TypeError, pl.exceptions.PolarsError, OverflowError):
        try:
            series = pl.Series(values, strict=False) if _numbers(values) else None
        except (TypeError, pl.exceptions.PolarsError, OverflowError):
            series = None
        if series is None:
            msg = "The values of a list have to be of one type."
            raise InputError(
                msg, code="input.literal", next_step="Write [1, 2] or ['a', 'b'], not a mixture."
            ) from None
    if series is None:
        scale = max(_decimal_type(v).scale or 0 for v in values if v is not None)
        return _typed(values, dt.list_of(DType("Decimal", precision=38, scale=scale)))
    return _typed(series.to_list(), dt.list_of(to_dtype(series.dtype)))


def _numbers(values: list[Any]) -> bool:
    return all(v is None or isinstance(v, int | float) for v in values)


def _settled(dtype: DType) -> DType:
    return {"DynInt": dt.INT64, "DynFloat": dt.FLOAT64}.get(dtype.kind, dtype)


def _typed(value: Any, dtype: DType) -> Literal:
    try:
        return Literal(dtype, encode_value(value, dtype))
    except (TypeError, ValueError, OverflowError, AttributeError, KeyError, ArithmeticError):
        msg = f"The value does not fit the data type {dtype}."
        raise InputError(
            msg, code="input.literal", next_step="Give a value of that type, or cast the column."
        ) from None


def encode_value(value: Any, dtype: DType) -> Any:
    """Return a Python value in the form `Literal` holds it for `dtype`; raises ValueError where it does not fit."""
    if value is None:
        return None
    match dtype.kind:
        case "Boolean":
            return _expect(value, bool)
        case "Int128":
            return _wide(_whole(value))
        case kind if kind.startswith(("Int", "UInt")):
            bits, signed = int(kind.lstrip("UInt")), kind[0] == "I"
            low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
            number = _whole(value)
            if not low <= number < high:
                raise ValueError(kind)
            return number
        case "DynInt":
            return _whole(value)
        case "Float32" | "Float64" | "DynFloat":
            if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
                raise ValueError(dtype.kind)
            return float(value)
        case "String" | "Categorical":
            return _expect(value, str)
        case "Enum":
            if value not in dtype.categories:
                raise ValueError(value)
            return _expect(value, str)
        case "Binary":
            return bytes(value)
        case "Date":
            day = value.date() if isinstance(value, datetime) else _expect(value, date)
            return (day - _EPOCH.date()).days
        case "Time":
            _expect(value, time)
            return ((value.hour * 60 + value.minute) * 60 + value.second) * 10**9 + value.microsecond * 1000
        case "Datetime":
            return _ticks(_since_epoch(value, dtype), dtype.unit)
        case "Duration":
            return _ticks(_expect(value, timedelta), dtype.unit)
        case "Decimal":
            number = Decimal(str(value)) if not isinstance(value, Decimal) else value
            return str(number.quantize(Decimal(1).scaleb(-(dtype.scale or 0))))
        case "List" | "Array":
            inner = dtype.inner or dt.NULL
            return tuple(encode_value(v, inner) for v in value)
        case "Struct":
            return tuple(encode_value(value[name], inner) for name, inner in dtype.fields)
    raise ValueError(dtype.kind)


def _since_epoch(value: Any, dtype: DType) -> timedelta:
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    elif dtype.zone not in (None, "UTC"):
        from zoneinfo import ZoneInfo

        value = value.replace(tzinfo=ZoneInfo(dtype.zone)).astimezone(UTC).replace(tzinfo=None)
    return value - _EPOCH  # type: ignore[no-any-return]


def _ticks(delta: timedelta, unit: str | None) -> int:
    micro = (delta.days * 86_400 + delta.seconds) * 10**6 + delta.microseconds
    per = _PER_SECOND[unit or "us"]
    return micro * per // 10**6


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(type(value).__name__)
    return value


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(type(value).__name__)
    return value


def decode_value(value: Any, dtype: DType) -> Any:
    """Return the Python value that `Literal` holds in coded form (the inverse of `encode_value`)."""
    if value is None:
        return None
    match dtype.kind:
        case "Int128":
            return int(value)
        case "Date":
            return _EPOCH.date() + timedelta(days=value)
        case "Time":
            return (_EPOCH + timedelta(microseconds=value // 1000)).time()
        case "Datetime":
            moment = _EPOCH + timedelta(microseconds=value * 10**6 // _PER_SECOND[dtype.unit or "us"])
            if dtype.zone is None:
                return moment
            from zoneinfo import ZoneInfo

            return moment.replace(tzinfo=UTC).astimezone(ZoneInfo(dtype.zone))
        case "Duration":
            return timedelta(microseconds=value * 10**6 // _PER_SECOND[dtype.unit or "us"])
        case "Decimal":
            return Decimal(value)
        case "List" | "Array":
            return [decode_value(v, dtype.inner or dt.NULL) for v in value]
        case "Struct":
            return {n: decode_value(v, t) for (n, t), v in zip(dtype.fields, value, strict=True)}
        case _:
            return value
