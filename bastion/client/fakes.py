"""Made-up values of a column, from what everybody who sees the dataset may know: its name, type, role, bounds, domain.

INVARIANT: a function of `ColumnFacts` and nothing else. No data, no measured fact, no clock and no chance goes in.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable
from datetime import date
from decimal import Context, Decimal
from typing import Any

import polars as pl
from bastion_plan.dtypes import SIGNED, DType
from bastion_policy.facts import ColumnFacts
from bastion_policy.roles import RoleKind

from bastion.expr.dtypes import to_polars

#: values in one cell at most; a wider array is empty
MAX_VALUES = 4_096
#: elements of a made-up list
LIST = 2
#: what numbers lie between where the owner declared no bounds
LOW, HIGH = 0, 99
_WORDS = tuple(f"fake {letter}" for letter in "ABCDE")
#: days since 1970 of the days that are made up, all in one year
_FIRST, _DAYS = (date(2001, 1, 1) - date(1970, 1, 1)).days, 365
#: enough digits for every Decimal
_CONTEXT = Context(prec=76)
_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}


def fake_series(column: ColumnFacts, rows: int, *, unit: bool = False) -> pl.Series:
    """Return made-up values of a column, the same ones every time; nulls where the type has no value, and where it is hidden.

    unit: whether it says whom a row is about; then every row has another value, in order.
    """
    dtype = column.dtype
    if column.role.kind is RoleKind.HIDDEN:
        values: list[Any] = [None] * rows
    elif unit or column.role.kind is RoleKind.IDENTIFIER:
        values = [_numbered(dtype, i) for i in range(rows)]
    else:
        make = _chosen(column) or _bounded(column) or _plain(dtype, column.role.kind is RoleKind.MEASURE)
        seed = hashlib.sha256(
            repr((column.name, str(dtype), column.role, column.domain)).encode("utf-8", "replace")
        ).digest()
        chance = random.Random(seed)  # noqa: S311 - the same for everybody is what is wanted
        values = [make(chance) for _ in range(rows)]
    return _series(column.name, dtype, values)


def _series(name: str, dtype: DType, values: list[Any]) -> pl.Series:
    """Return a series; temporal values are numbers (days, nanoseconds, units since 1970)."""
    kind = to_polars(dtype)
    if dtype.kind == "Null":
        return pl.Series(name, [None] * len(values), dtype=pl.Null)
    if _has_temporal(dtype):
        return pl.Series(name, values, dtype=_physical(dtype)).cast(kind)
    return pl.Series(name, values, dtype=kind)


def _has_temporal(dtype: DType) -> bool:
    inside = [dtype.inner] if dtype.inner is not None else []
    return dtype.is_temporal or any(map(_has_temporal, [*inside, *(t for _, t in dtype.fields)]))


def _physical(dtype: DType) -> pl.DataType:
    """Return the type with whole numbers in place of dates and times."""
    inner = dtype.inner
    if dtype.is_temporal:
        return pl.Int32() if dtype.kind == "Date" else pl.Int64()
    if dtype.kind == "List" and inner is not None:
        return pl.List(_physical(inner))
    if dtype.kind == "Array" and inner is not None:
        return pl.Array(_physical(inner), dtype.width or 0)
    if dtype.kind == "Struct":
        return pl.Struct([pl.Field(name, _physical(t)) for name, t in dtype.fields])
    return to_polars(dtype)


def integer_range(dtype: DType) -> tuple[int, int]:
    """Return the smallest and the largest whole number of an integer type."""
    bits = int("".join(c for c in dtype.kind if c.isdigit()) or 64)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dtype.kind in SIGNED else (0, 2**bits - 1)


# ---- declared by the owner -------------------------------------------------------------------------------------------


def _chosen(column: ColumnFacts) -> Callable[[random.Random], Any] | None:
    """Return a choice of the values that the owner declared public."""
    declared = column.domain if column.domain is not None else column.role.domain
    values = [fitted for value in declared or () if (fitted := _fitted(value, column.dtype)) is not None]
    return (lambda chance: chance.choice(values)) if values else None


def _fitted(value: Any, dtype: DType) -> Any:
    """Return a declared value as the column holds it; None where it cannot."""
    if isinstance(value, bool) or dtype.kind == "Boolean":
        return value if isinstance(value, bool) and dtype.kind == "Boolean" else None
    if isinstance(value, str):
        if dtype.kind == "Date":
            try:
                return (date.fromisoformat(value) - date(1970, 1, 1)).days
            except ValueError:
                return None
        return value if dtype.kind in ("String", "Categorical") or value in dtype.categories else None
    if dtype.is_integer:
        low, high = integer_range(dtype)
        return int(value) if float(value).is_integer() and low <= value <= high else None
    if dtype.is_float:
        return float(value)
    return _decimal(float(value), dtype) if dtype.kind == "Decimal" else None


def _bounded(column: ColumnFacts) -> Callable[[random.Random], Any] | None:
    """Return numbers between the bounds that the owner declared."""
    low, high, dtype = column.role.lower, column.role.upper, column.dtype
    if low is None or high is None or not dtype.is_numeric:
        return None
    if dtype.is_integer:
        least, most = integer_range(dtype)
        first, last = max(least, math.ceil(low)), min(most, math.floor(high))
        return (lambda chance: chance.randint(first, last)) if first <= last else None
    spread = high / 2 - low / 2  # the difference may be beyond all numbers
    digits = max(0, 3 - math.floor(math.log10(spread))) if spread else 300

    def between(chance: random.Random) -> float:
        return min(high, max(low, round(2 * (low / 2 + spread * chance.random()), digits)))

    return (lambda chance: _decimal(between(chance), dtype)) if dtype.kind == "Decimal" else between


# ---- nothing declared ------------------------------------------------------------------------------------------------


def _plain(dtype: DType, many: bool) -> Callable[[random.Random], Any]:
    """Return values of a type of which nothing else is known. many: numbers that are measured, not a few categories."""
    low, high = (LOW, HIGH) if many else (0, 3)
    match dtype.kind:
        case "Boolean":
            return lambda chance: chance.random() < 0.5
        case "String" | "Categorical":
            return lambda chance: chance.choice(_WORDS)
        case "Enum":
            return lambda chance: chance.choice(dtype.categories) if dtype.categories else None
        case "Binary":
            return lambda chance: b"fake"
        case "Date":
            return lambda chance: _FIRST + chance.randrange(_DAYS)
        case "Datetime":
            return lambda chance: (_FIRST * 86400 + chance.randrange(_DAYS * 86400)) * _PER_SECOND[dtype.unit or "us"]
        case "Duration":
            return lambda chance: chance.randrange(86400) * _PER_SECOND[dtype.unit or "us"]
        case "Time":
            return lambda chance: chance.randrange(86400) * 10**9
        case "Decimal":
            return lambda chance: _decimal(chance.uniform(low, high), dtype)
        case "List" | "Array" | "Struct":
            return lambda chance: _nested(dtype, chance)
        case _ if dtype.is_integer:
            return lambda chance: chance.randint(low, high)
        case _ if dtype.is_float:
            return lambda chance: round(chance.uniform(LOW, HIGH), 1)
        case _:
            return lambda chance: None


def _nested(dtype: DType, chance: random.Random) -> Any:
    if _size(dtype) > MAX_VALUES:
        return None
    if dtype.kind == "Struct":
        return {name: _plain(inner, many=True)(chance) for name, inner in dtype.fields}
    inner = dtype.inner
    width = LIST if dtype.kind == "List" else dtype.width or 0
    return [] if inner is None else [_plain(inner, many=True)(chance) for _ in range(width)]


def _size(dtype: DType) -> int:
    """Return how many values a made-up cell of a type holds."""
    if dtype.kind == "Struct":
        return 1 + sum(_size(inner) for _, inner in dtype.fields)
    if dtype.inner is None:
        return 1
    return (LIST if dtype.kind == "List" else dtype.width or 0) * _size(dtype.inner)


def _decimal(value: float, dtype: DType) -> Decimal | None:
    """Return a number with the digits of a Decimal column; None where it has too many of them."""
    scale, precision = dtype.scale or 0, dtype.precision or 38
    whole = Decimal(10) ** (precision - scale)
    found = Decimal(repr(value))
    if abs(found) >= whole:
        found = whole / 2  # few digits before the point, or none
    return found.quantize(Decimal(1).scaleb(-scale), context=_CONTEXT)


def _numbered(dtype: DType, number: int) -> Any:
    """Return the value of a row that no other row has, as far as the type has as many."""
    match dtype.kind:
        case "String" | "Categorical":
            return f"fake-{number + 1}"
        case "Binary":
            return f"fake-{number + 1}".encode()
        case "Boolean":
            return number % 2 == 1
        case "Enum":
            return dtype.categories[number % len(dtype.categories)] if dtype.categories else None
        case "Date":
            return _FIRST + number
        case "Datetime":
            return (_FIRST + number) * 86400 * _PER_SECOND[dtype.unit or "us"]
        case "Duration":
            return (number + 1) * _PER_SECOND[dtype.unit or "us"]
        case "Time":
            return number % 86400 * 10**9
        case "Decimal":
            return _decimal(float(number + 1), dtype)
        case _ if dtype.is_integer:
            return (number + 1) % (integer_range(dtype)[1] + 1)
        case _ if dtype.is_float:
            return float(number + 1)
        case _:
            return _plain(dtype, many=True)(random.Random(number))  # noqa: S311
